"""Make a model from a Modelfile."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dimora.cli.making import make_model
from dimora.core.errors import BadRequest
from dimora.models.names import path_of
from dimora.tasks.modelfile import LIMIT_BYTES, Modelfile, parse_modelfile


@click.command()
@click.argument("name")
@click.option("-f", "--file", "path", metavar="FILE", help="The Modelfile; - is standard input.")
@click.option("-q", "--quantize", default="", metavar="TYPE", help="Quantize to, such as Q4_K_M.")
@click.option("--draft-quantize", default="", metavar="TYPE", help="Quantize the draft.")
def command(name: str, path: str | None, quantize: str, draft_quantize: str) -> None:
    """Make the model NAME as a Modelfile says.

    Without --file it is the file Modelfile in this folder; where there is none, the model files of
    this folder. Local files are shared with the store where the disk can do that.
    """
    modelfile, directory = _read(path)
    make_model(name, modelfile, directory, quantize=quantize, draft=draft_quantize)


def _read(path: str | None) -> tuple[Modelfile, Path]:
    """The Modelfile, and the folder its paths begin at."""
    if path == "-":
        return parse_modelfile(sys.stdin.buffer.read(LIMIT_BYTES + 1)), Path.cwd()
    file = path_of(path or "Modelfile")
    try:
        with file.open("rb") as opened:
            return parse_modelfile(opened.read(LIMIT_BYTES + 1)), file.absolute().parent
    except FileNotFoundError:
        if path is None:
            return Modelfile(sources=(".",)), Path.cwd()
        raise BadRequest(f"there is no file {path!r}", hint="-f names the Modelfile") from None
    except OSError as why:
        raise BadRequest(f"{str(file)!r} cannot be read: {why.strerror}") from None
