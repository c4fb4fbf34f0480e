"""Send a model to the registry its name says."""

from __future__ import annotations

from contextlib import closing

import click

from dimora.cli.asking import door_here, show_progress
from dimora.tasks.push_model import PushModel


@click.command()
@click.argument("model")
@click.option("--insecure", is_flag=True, help="Allow a registry without encryption.")
def command(model: str, insecure: bool) -> None:
    """Send a model to the registry its name says, such as my.registry/team/model:tag."""
    with (
        door_here() as door,
        closing(door.ask(PushModel(model=model, insecure=insecure))) as events,
    ):
        show_progress(events)
