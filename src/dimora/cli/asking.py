"""What most commands do: read the settings, open the door, ask one thing, wait with a bar."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, TypeVar

import click

from dimora.cli.door import Door, open_door
from dimora.cli.words import size_words
from dimora.core.errors import Forbidden, InternalError, NotFound
from dimora.core.settings import Settings, load_settings
from dimora.core.types import Done, Event, Progress, Request

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_E = TypeVar("_E", bound=Event)


def settings_here(**flags: object) -> Settings:
    """The settings, with flags of this command over them."""
    return load_settings(flags)[0]


@contextmanager
def door_here(settings: Settings | None = None, *, here: bool = False) -> Iterator[Door]:
    with open_door(settings or settings_here(), here=here) as door:
        yield door


def ask_one(door: Door, request: Request, kind: type[_E]) -> _E:
    """The one event of this kind in the answer."""
    found = None
    with closing(door.ask(request)) as events:
        for event in events:
            if isinstance(event, kind):
                found = event
    if found is None:
        raise InternalError(f"the answer had no {kind.__name__}")
    return found


def ask_quietly(door: Door, request: Request) -> None:
    """For what has no answer but that it is done."""
    with closing(door.ask(request)) as events:
        for _ in events:
            pass


def pull_with_bar(
    door: Door, name: str, *, insecure: bool = False, accepts_licence: bool = False
) -> None:
    """Pull a model; a bar on a terminal, else a line for each step.

    Before that its licence is shown, and asked for where that has to be.
    """
    from dimora.tasks.pull_model import PullModel

    accepts = _see_licence(door, name, accepts_licence)
    request = PullModel(model=name, insecure=insecure, accepts_licence=accepts)
    try:
        with closing(door.ask(request)) as events:
            show_progress(events)
    except KeyboardInterrupt:
        click.echo("given up; what came is kept, the same command goes on with it", err=True)
        raise


def show_progress(events: Iterator[Event]) -> tuple[str, ...]:
    """Hear events to their end; a bar on a terminal, else a line for each step. Gives the
    warnings the last one brings."""
    heard = _Heard(events)
    if sys.stderr.isatty():
        _show_bar(heard)
    else:
        _show_lines(heard)
    return heard.warnings


class _Heard:
    """Passes events on and keeps what the last one warns of."""

    def __init__(self, events: Iterator[Event]) -> None:
        self.warnings: tuple[str, ...] = ()
        self._events = events

    def __iter__(self) -> Iterator[Event]:
        for event in self._events:
            if isinstance(event, Done):
                self.warnings = event.warnings
            yield event


def _see_licence(door: Door, name: str, accepts: bool) -> bool:
    """Show the licence of a model that the catalogue knows; whether it is accepted by this pull.

    Raises Forbidden when the person at the terminal says no. Nobody to ask is told by the pull.
    """
    from dimora.tasks.list_catalogue import CatalogueFound, ListCatalogue

    terms = ask_one(door, ListCatalogue(model=name), CatalogueFound).terms
    if terms is None:
        return False
    if terms.accepted:
        known = "" if terms.is_open else ", accepted before"
        click.echo(f"licence: {terms.license}{known}", err=True)
        return False
    click.echo(f"\n{name} is under the licence: {terms.license}", err=True)
    click.echo(f"{terms.notice}\n{terms.license_url}\n", err=True)
    if not accepts and sys.stdin.isatty() and sys.stderr.isatty():
        accepts = click.confirm("Have you read it, and do you accept it?", err=True)
        if not accepts:
            raise Forbidden("the licence was not accepted, and nothing was fetched")
    return accepts


def _show_lines(events: Iterable[Event]) -> None:
    last = ""
    for event in events:
        if isinstance(event, Progress) and event.status != last:
            last = event.status
            size = f" ({size_words(event.total_bytes)})" if event.total_bytes else ""
            click.echo(f"{event.status}{size}", err=True)


def _show_bar(events: Iterable[Event]) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Bars(*columns, TransferSpeedColumn(), console=Console(stderr=True)) as bars:
        rows: dict[str, TaskID] = {}
        for event in events:
            if isinstance(event, Progress):
                _update(bars, rows, event)


def _update(bars: Bars, rows: dict[str, TaskID], event: Progress) -> None:
    if not event.total_bytes:
        bars.console.print(event.status, highlight=False, markup=False)
        return
    if event.status not in rows:
        rows[event.status] = bars.add_task(event.status, total=event.total_bytes)
    bars.update(rows[event.status], completed=event.completed_bytes, total=event.total_bytes)


def pull_if_missing(door: Door, name: str) -> None:
    """Pull a model that is not in the store."""
    from dimora.tasks.show_model import ShowModel

    try:
        ask_quietly(door, ShowModel(model=name))
    except NotFound:
        pull_with_bar(door, name)
