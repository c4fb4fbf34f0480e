"""Fetch a model into the store."""

from __future__ import annotations

import click

from dimora.cli.asking import door_here, pull_with_bar


@click.command()
@click.argument("model")
@click.option("--insecure", is_flag=True, help="Allow a registry without encryption.")
def command(model: str, insecure: bool) -> None:
    """Fetch a model; what an earlier pull left is used."""
    with door_here() as door:
        pull_with_bar(door, model, insecure=insecure)
