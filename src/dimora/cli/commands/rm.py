"""Remove models."""

from __future__ import annotations

import click

from dimora.cli.asking import ask_quietly, door_here
from dimora.tasks.delete_model import DeleteModel


@click.command()
@click.argument("models", nargs=-1, required=True)
def command(models: tuple[str, ...]) -> None:
    """Remove models, and the files no other name needs."""
    with door_here() as door:
        for model in models:
            ask_quietly(door, DeleteModel(model=model))
            click.echo(f"deleted '{model}'")
