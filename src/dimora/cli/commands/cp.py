"""Give a model a second name."""

from __future__ import annotations

import click

from dimora.cli.asking import ask_quietly, door_here
from dimora.tasks.copy_model import CopyModel


@click.command()
@click.argument("source")
@click.argument("destination")
def command(source: str, destination: str) -> None:
    """Give a model a second name; its files are shared."""
    with door_here() as door:
        ask_quietly(door, CopyModel(model=source, destination=destination))
    click.echo(f"copied '{source}' to '{destination}'")
