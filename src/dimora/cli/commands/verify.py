"""Check every byte of models, and mend them."""

from __future__ import annotations

from contextlib import closing

import click

from dimora.cli.asking import door_here, show_progress
from dimora.cli.words import print_json, size_words
from dimora.core.types import Event
from dimora.tasks.keeping import Fault, StoreTold
from dimora.tasks.verify_models import FaultFound, ModelsVerified, VerifyModels


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--repair", is_flag=True, help="Fetch what is damaged again; remove what is unused.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(names: tuple[str, ...], repair: bool, as_json: bool) -> int:
    """Check every byte of the models NAME, or of the whole store.

    Exits with 1 when something is wrong and could not be mended.
    """
    faults: list[Fault] = []
    told = StoreTold()

    def note(event: Event) -> Event:
        nonlocal told
        if isinstance(event, FaultFound):
            faults.append(event.fault)
        elif isinstance(event, ModelsVerified):
            told = event.told
        return event

    request = VerifyModels(names=names, repair=repair)
    with door_here() as door, closing(door.ask(request)) as events:
        show_progress(note(event) for event in events)
    if as_json:
        print_json({"faults": faults, "told": told})
    else:
        _print(faults, told, repair)
    return 0 if all(fault.mended for fault in faults) else 1


def _print(faults: list[Fault], told: StoreTold, repair: bool) -> None:
    for fault in faults:
        what = " ".join(word for word in (fault.kind, fault.digest, fault.problem) if word)
        click.echo(f"{fault.model}: {what}")
        if repair:
            click.echo("  mended" if fault.mended else f"  not mended: {fault.why_not}")
    wrong = sum(not fault.mended for fault in faults)
    looked = f"{told.models} models, {told.blobs} files, {size_words(told.size_bytes)}"
    click.echo(f"{looked}: {f'{wrong} wrong' if wrong else 'all right'}")
    if told.removed_files:
        click.echo(f"removed {told.removed_files} files no model needs")
    if told.unneeded_files:
        size = size_words(told.unneeded_bytes)
        hint = "young ones stay a while" if repair else "--repair removes old ones"
        click.echo(f"{told.unneeded_files} files no model needs, {size}; {hint}")
