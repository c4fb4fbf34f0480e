"""Measure how fast each engine here runs a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import click

from dimora.cli.asking import ask_quietly, door_here, show_progress
from dimora.cli.measured import print_benched
from dimora.cli.words import print_json
from dimora.core.types import Event
from dimora.tasks.bench_model import BenchModel, ModelBenched
from dimora.tasks.forget_profile import ForgetProfile
from dimora.tasks.profile import Benched, BenchWish

_FORCE = "Measure even if other requests or programs are disturbed, or disturb it."


@click.command()
@click.argument("model")
@click.option("--apply", is_flag=True, help="Let the figures decide from now on.")
@click.option(
    "--engine", "engines", multiple=True, metavar="NAME", help="Only this one, or several."
)
@click.option("--quick", is_flag=True, help="Shorter, and less sure.")
@click.option(
    "--inexact",
    is_flag=True,
    help="Also choose engines that do not load the model just as its file says.",
)
@click.option("--force", is_flag=True, help=_FORCE)
@click.option("--forget", is_flag=True, help="Only take back what --apply did.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(
    model: str,
    apply: bool,
    engines: tuple[str, ...],
    quick: bool,
    inexact: bool,
    force: bool,
    forget: bool,
    as_json: bool,
) -> int:
    """Measure how fast each engine here runs MODEL, and let that decide which one does.

    Takes about half a minute for each engine, in a process beside what is loaded. With --apply the
    fastest at a typical request (1000 tokens read, 250 written) runs MODEL from its next loading
    on, for as long as engines and machine are the same. Exits with 1 when that could not be done.
    """
    if forget:
        if apply or engines or quick or inexact or force or as_json:
            raise click.UsageError("--forget stands alone")
        with door_here() as door:
            ask_quietly(door, ForgetProfile(model=model))
        click.echo(f"forgotten; the usual rule chooses the engine of '{model}'")
        return 0
    names = tuple(dict.fromkeys(engines))
    wish = BenchWish(engines=names, quick=quick, apply=apply, inexact=inexact, force=force)
    with door_here() as door, closing(door.ask(BenchModel(model=model, wish=wish))) as events:
        told = _Told()
        try:
            show_progress(told.without(events))
        finally:
            # What took a minute is shown, also when storing it failed.
            if told.benched is not None:
                print_json(told.benched) if as_json else print_benched(told.benched, model)
    benched = told.benched
    return 0 if benched and benched.figures and not benched.not_applied else 1


class _Told:
    """Keeps the result, and passes the rest on."""

    def __init__(self) -> None:
        self.benched: Benched | None = None

    def without(self, events: Iterator[Event]) -> Iterator[Event]:
        for event in events:
            if isinstance(event, ModelBenched):
                self.benched = event.benched
            else:
                yield event
