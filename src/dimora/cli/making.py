"""Makes a model of files of this machine: they go into the house first, wherever it is."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import click
import msgspec

from dimora.cli.asking import door_here, settings_here, show_progress
from dimora.cli.door import Door
from dimora.cli.local_files import Files, LocalFiles, check_files, find_files
from dimora.core.settings import Settings
from dimora.core.types import Done, Event
from dimora.models.converting.quantizing import named_kind
from dimora.models.names import require_name
from dimora.tasks.create_model import CreateModel
from dimora.tasks.modelfile import Modelfile
from dimora.tasks.recipe import AdapterPart, Recipe
from dimora.tasks.take_file import FileTaken


def make_model(
    name: str, modelfile: Modelfile, directory: Path, *, quantize: str = "", draft: str = ""
) -> None:
    """Make the model, and tell how it goes; paths in the Modelfile begin at `directory`.

    `quantize` and `draft` are what its weights and its draft are quantized to. Raises DimoraError.
    """
    require_name(name, "name")
    for kind in filter(None, (quantize, draft)):
        named_kind(kind)
    local = find_files(modelfile, directory)
    making = _Making(name, modelfile, local, (quantize, draft))
    settings = settings_here()
    with door_here(settings) as door:
        _require_convertible(local.files, settings, door)
        check_files(modelfile, local)
        try:
            with closing(making.steps(door)) as events:
                show_progress(events)
        finally:
            _tell_linked(making.linked)
    for warning in (*modelfile.warnings, *making.warnings):
        click.echo(f"Warning: {warning}", err=True)


def _tell_linked(names: list[str]) -> None:
    if names:
        click.echo(
            f"{', '.join(names)}: shared with the store, and read-only from now on"
            " (DIMORA_LINK_FILES=false makes copies)",
            err=True,
        )


def _require_convertible(files: Files, settings: Settings, door: Door) -> None:
    """Refuse what cannot be converted before gigabytes of it are read.

    Raises InvalidModel naming the architecture, NotFound where the toolchain is missing.
    """
    if "config.json" not in files or not any(name.endswith(".safetensors") for name in files):
        return
    from dimora.models.converting.checkpoints import (
        known_architectures,
        read_config,
        require_architecture,
    )
    from dimora.models.toolchain.installed import find_toolchain, require_toolchain

    toolchain = find_toolchain(settings.toolchain_path)
    if toolchain is not None:
        require_architecture(read_config(files), known_architectures(toolchain.converters))
    elif not door.is_remote:
        require_toolchain(settings.toolchain_path, "converting safetensors")


class _Making:
    """The files on their way into the house, and then the model of them."""

    def __init__(
        self, name: str, modelfile: Modelfile, local: LocalFiles, quantize: tuple[str, str]
    ) -> None:
        self.warnings: tuple[str, ...] = ()
        self.linked: list[str] = []
        self._name = name
        self._modelfile = modelfile
        self._local = local
        self._quantize = quantize
        self._digests: dict[Path, str] = {}

    def steps(self, door: Door) -> Generator[Event, None, None]:
        """Progress of all of it. Raises DimoraError."""
        for path in self._local.paths():
            with closing(door.bring(path)) as events:
                for event in events:
                    if isinstance(event, FileTaken):
                        self._digests[path] = event.digest
                        self.linked += [path.name] if event.linked else []
                    yield event
        request = CreateModel(model=self._name, recipe=self._recipe())
        with closing(door.ask(request)) as events:
            for event in events:
                if isinstance(event, Done):
                    self.warnings = event.warnings
                yield event

    def _recipe(self) -> Recipe:
        said, local = self._modelfile, self._local
        adapters = (
            AdapterPart(files=self._named(files), scale=scale) for files, scale in local.adapters
        )
        quantize, draft_quantize = self._quantize
        plain = msgspec.structs.asdict(said)
        same = ("options", "system", "template", "licenses", "renderer", "parser", "requires")
        return Recipe(
            source=local.source,
            files=self._named(local.files),
            adapters=tuple(adapters),
            quantize=quantize,
            draft=local.draft,
            draft_files=self._named(local.draft_files),
            draft_quantize=draft_quantize,
            documents=self._named(local.documents),
            messages=said.messages or None,
            **{name: plain[name] for name in same},
        )

    def _named(self, files: Files) -> dict[str, str]:
        return {name: self._digests[path] for name, path in files.items()}
