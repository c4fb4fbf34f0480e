"""Build llama.cpp's programs for this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing

import click

from dimora.cli.asking import ask_one, ask_quietly, door_here
from dimora.cli.door import Door
from dimora.cli.words import age_words, duration_words, print_json, print_table, size_words
from dimora.core.types import Event, Progress
from dimora.tasks.base import ToolchainState

_PACKAGE = "llama-cpp-python"


@click.group()
def command() -> None:
    """Build llama.cpp's programs for this machine, look at them, remove them.

    They run GGUF models faster than the built-in server, quantize to all formats, and convert
    safetensors models and adapters.
    """


@command.command()
@click.option("--jobs", default=0, help="Compilers at a time; as many as fit without it.")
def install(jobs: int) -> None:
    """Fetch the pinned source and build it; goes on where an earlier try ended."""
    from dimora.tasks.install_toolchain import InstallToolchain

    with door_here() as door:
        with closing(door.ask(InstallToolchain(jobs=jobs))) as events:
            _follow(events)
        shown = _state(door)
    for note in shown.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(f"llama.cpp {shown.commit} ({shown.way}) from {_PACKAGE} {shown.version}", err=True)


@command.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(as_json: bool) -> None:
    """Tell what is installed, and how it was built."""
    with door_here() as door:
        shown = _state(door)
    if as_json:
        print_json(shown)
        return
    rows = [("state", shown.state), ("wanted", f"{_PACKAGE} {shown.wanted_version}")]
    if shown.version:
        rows += [
            ("version", shown.version),
            ("llama.cpp", shown.commit),
            ("kernels", shown.way),
            ("built", f"{age_words(shown.built_at)}, in {duration_words(shown.seconds)}"),
            ("programs", ", ".join(shown.programs)),
        ]
    rows += [("note", note) for note in shown.notes]
    print_table(("TOOLCHAIN", size_words(shown.size_bytes)), rows)


@command.command()
def remove() -> None:
    """Remove it; GGUF models run in the built-in server then."""
    from dimora.tasks.remove_toolchain import RemoveToolchain

    with door_here() as door:
        ask_quietly(door, RemoveToolchain())


def _state(door: Door) -> ToolchainState:
    from dimora.tasks.show_toolchain import ShowToolchain, ToolchainShown

    return ask_one(door, ShowToolchain(), ToolchainShown).toolchain


def _follow(events: Iterator[Event]) -> None:
    """Percent of each step: a bar on a terminal, else a line a step."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    shown = sys.stderr.isatty()
    last, row = "", None
    with Bars(
        *columns, TimeElapsedColumn(), console=Console(stderr=True), disable=not shown
    ) as bars:
        for event in events:
            if not isinstance(event, Progress):
                continue
            if event.status != last:
                last = event.status
                row = bars.add_task(last, total=event.total_bytes or None)
                if not shown:
                    click.echo(last, err=True)
            if row is not None and event.total_bytes:
                bars.update(row, completed=event.completed_bytes, total=event.total_bytes)
