"""List the models in the store."""

from __future__ import annotations

import click

from dimora.cli.asking import ask_one, door_here
from dimora.cli.words import age_words, print_json, print_table, size_words
from dimora.tasks.list_models import ListModels, ModelsFound


@click.command()
@click.argument("prefix", default="")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(prefix: str, as_json: bool) -> None:
    """List the models in the store, those whose name begins with PREFIX."""
    with door_here() as door:
        models = ask_one(door, ListModels(prefix=prefix), ModelsFound).models
    if as_json:
        print_json(models)
        return
    rows = [
        (m.name, m.digest[:12], size_words(m.size_bytes), age_words(m.modified_at)) for m in models
    ]
    print_table(("NAME", "ID", "SIZE", "MODIFIED"), rows)
