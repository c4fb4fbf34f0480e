"""Make a smaller form of a model."""

from __future__ import annotations

from contextlib import closing

import click

from dimora.cli.asking import door_here, show_progress
from dimora.tasks.create_model import CreateModel
from dimora.tasks.recipe import Recipe


@click.command()
@click.argument("model")
@click.argument("type_", metavar="TYPE")
@click.option("--name", metavar="NEW", help="What to call it; else TYPE is added to the tag.")
def command(model: str, type_: str, name: str | None) -> None:
    """Make a form of MODEL with fewer bits a weight, beside the original.

    TYPE is Q8_0, Q6_K, Q5_K_M, Q4_K_M, Q4_0 or another kind of GGUF, in any case. Those with a K or
    an I need `dimora toolchain install` once; MODEL has to be F32, F16, BF16 or Q8_0.
    """
    target = name or name_beside(model, type_)
    request = CreateModel(model=target, recipe=Recipe(source=model, quantize=type_))
    with door_here() as door, closing(door.ask(request)) as events:
        for warning in show_progress(events):
            click.echo(f"note: {warning}", err=True)
    click.echo(f"made '{target}'", err=True)


def name_beside(model: str, kind: str) -> str:
    """`smollm2:135m` and `Q4_K_M` are `smollm2:135m-q4_k_m`; a tag that is none is left out."""
    last = model.rpartition("/")[2]
    tagged = f"{model}-" if ":" in last and not last.endswith(":latest") else ""
    bare = model.removesuffix(":latest")
    return f"{tagged or f'{bare}:'}{kind.lower()}"
