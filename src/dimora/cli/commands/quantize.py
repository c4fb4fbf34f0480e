"""Make a smaller form of a model."""

from __future__ import annotations

from pathlib import Path

import click

from dimora.cli.improving import Wish, improve, name_beside
from dimora.tasks.create_model import CreateModel
from dimora.tasks.recipe import Recipe


@click.command()
@click.argument("model")
@click.argument("kind", metavar="TYPE")
@click.option("--name", metavar="NEW", help="What to call it; else TYPE is added to the tag.")
@click.option("--text", type=click.Path(path_type=Path), help="Text to compare the two over.")
@click.option("-y", "--yes", is_flag=True, help="Replace also what is worse than the bounds.")
@click.option("--json", "as_json", is_flag=True, help="The card as JSON.")
def command(
    model: str, kind: str, name: str | None, text: Path | None, yes: bool, as_json: bool
) -> int:
    """Make a form of MODEL with fewer bits a weight, beside the original.

    TYPE is Q8_0, Q6_K, Q5_K_M, Q4_K_M, Q4_0 or another kind of GGUF, in any case. Those with a K or
    an I need `dimora toolchain install` once; MODEL has to be F32, F16, BF16 or Q8_0.
    """
    target = name or name_beside(model, kind.lower())
    wish = Wish(source=model, name=target, text=text, yes=yes, as_json=as_json)

    def request_for(work: str) -> CreateModel:
        return CreateModel(model=work, recipe=Recipe(source=model, quantize=kind))

    return improve(wish, request_for)
