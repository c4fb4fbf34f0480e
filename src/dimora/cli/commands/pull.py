"""Fetch a model into the store."""

from __future__ import annotations

import click

from dimora.cli.asking import door_here, pull_with_bar


@click.command()
@click.argument("model")
def command(model: str) -> None:
    """Fetch a model into the store; what an earlier pull left is used."""
    with door_here() as door:
        pull_with_bar(door, model)
