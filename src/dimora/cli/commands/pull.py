"""Fetch a model into the store."""

from __future__ import annotations

import click

from dimora.cli.asking import door_here, pull_with_bar
from dimora.core.errors import BadRequest, NotFound
from dimora.models.names import is_file_name, name_of_path, path_of


@click.command()
@click.argument("model")
@click.option("--insecure", is_flag=True, help="Allow a registry without encryption.")
@click.option("--accept-licence", is_flag=True, help="Agree to the licence of the model.")
def command(model: str, insecure: bool, accept_licence: bool) -> None:
    """Fetch a model; what an earlier pull left is used.

    MODEL is a name, or the path of a GGUF file or of a folder with a model.
    """
    if is_file_name(model):
        _take_in(model)
        return
    with door_here() as door:
        pull_with_bar(door, model, insecure=insecure, accepts_licence=accept_licence)


def _take_in(text: str) -> None:
    """Make a model of a file or folder, called like it. Raises NotFound, BadRequest."""
    from dimora.cli.making import make_model
    from dimora.tasks.modelfile import Modelfile

    path = path_of(text).absolute()
    if not path.exists():
        raise NotFound(
            f"there is no file or folder {text!r}",
            code="file_not_found",
            hint="what does not begin with . or / and does not end in .gguf is a model's name",
        )
    name = name_of_path(path)
    if name is None:
        raise BadRequest(
            f"{path.name!r} cannot be the name of a model",
            hint="`dimora create NAME -f Modelfile` gives it another",
        )
    make_model(name.display, Modelfile(sources=(str(path),)), path.parent)
