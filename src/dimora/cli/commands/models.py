"""List models, in Foundry Local's words."""

from __future__ import annotations

from typing import Any

import click

from dimora.cli.commands.catalogue import catalogue_options, show_catalogue


@click.group()
def command() -> None:
    """List models, in the words of Foundry Local."""


@command.command("list")
@catalogue_options
def list_(**options: Any) -> None:
    """List the models of the catalogue; the same as `dimora catalogue`."""
    show_catalogue(**options)
