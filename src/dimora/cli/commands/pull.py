"""Fetch a model into the store."""

from __future__ import annotations

import click

from dimora.cli.asking import door_here, pull_with_bar


@click.command()
@click.argument("model")
@click.option("--insecure", is_flag=True, help="Allow a registry without encryption.")
@click.option("--accept-licence", is_flag=True, help="Agree to the licence of the model.")
def command(model: str, insecure: bool, accept_licence: bool) -> None:
    """Fetch a model; what an earlier pull left is used."""
    with door_here() as door:
        pull_with_bar(door, model, insecure=insecure, accepts_licence=accept_licence)
