"""Show the settings and where they come from."""

from __future__ import annotations

import click

from dimora.cli.words import print_json, print_table
from dimora.core.settings import explain, load_settings


@click.group()
def command() -> None:
    """Show the settings and where they come from."""


@command.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(as_json: bool) -> None:
    """Print every setting, its value, its source and what it is for."""
    rows = explain(*load_settings())
    if as_json:
        print_json({r.name: {"value": r.value, "source": r.source, "help": r.help} for r in rows})
        return
    print_table(
        ("SETTING", "VALUE", "SOURCE", "WHAT IT IS"),
        [tuple(r) for r in rows],
        least=("WHAT IT IS",),
    )
