"""Make a form of a model that an engine runs faster."""

from __future__ import annotations

from pathlib import Path

import click

from dimora.cli.improving import Wish, improve, name_beside
from dimora.tasks.optimize_model import OptimizeModel


@click.command()
@click.argument("model")
@click.option("--engine", default="openvino", show_default=True, help="The engine to make it for.")
@click.option("--bits", type=int, default=8, show_default=True, help="Bits of a weight: 4 or 8.")
@click.option(
    "--group", type=int, default=0, metavar="N", help="With 4 bits: weights that share a scale."
)
@click.option("--name", metavar="NEW", help="What to call it; else engine and bits join the tag.")
@click.option("--text", type=click.Path(path_type=Path), help="Text to compare the two over.")
@click.option("-y", "--yes", is_flag=True, help="Replace also what is worse than the bounds.")
@click.option("--json", "as_json", is_flag=True, help="The card as JSON.")
def command(
    model: str,
    engine: str,
    bits: int,
    group: int,
    name: str | None,
    text: Path | None,
    yes: bool,
    as_json: bool,
) -> int:
    """Export and compress MODEL for an engine, beside the original.

    MODEL is a GGUF model of the families llama, qwen2 and qwen3, best in F16, BF16 or Q8_0. It
    becomes OpenVINO IR. The libraries come with: pip install "dimora[optimize]"
    """
    target = name or name_beside(model, f"{engine}-int{bits}")
    wish = Wish(source=model, name=target, text=text, yes=yes, as_json=as_json)

    def request_for(work: str) -> OptimizeModel:
        return OptimizeModel(model=work, source=model, engine=engine, bits=bits, group=group)

    return improve(wish, request_for)
