"""Print the version."""

from __future__ import annotations

import click

from dimora import __version__


@click.command()
def command() -> None:
    """Print the version."""
    click.echo(f"dimora version {__version__}")
