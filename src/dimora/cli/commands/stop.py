"""Let go of a model in memory."""

from __future__ import annotations

import click

from dimora.cli.asking import ask_quietly, door_here
from dimora.tasks.hold_model import HoldModel


@click.command()
@click.argument("model")
def command(model: str) -> None:
    """Let go of a model in memory, once it has answered what it is asked."""
    with door_here() as door:
        ask_quietly(door, HoldModel(model=model, keep_alive=0.0))
