"""Makes the OpenVINO form of a GGUF model: a folder of IR, kept in the store as a model."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING

from dimora.core.errors import NotFound, UnsupportedFeature
from dimora.core.types import Progress
from dimora.models.convert_file import convert_file
from dimora.models.names import require_name
from dimora.models.taking import take
from dimora.storage.disk import disk_errors

if TYPE_CHECKING:
    from dimora.models.store import ModelStore

_EXTRA = 'pip install "dimora[optimize]"'


class Optimization:
    """One run of `ModelStore.optimize`."""

    def __init__(self, store: ModelStore, name: str, source: str, *, bits: int, group: int) -> None:
        self._store = store
        self._name = require_name(name, "name")
        self._source = source
        self._bits = bits
        self._group = group

    async def run(self) -> AsyncGenerator[Progress, None]:
        """See ModelStore.optimize."""
        store = self._store
        _require_packages()
        model = await asyncio.to_thread(store.find, self._source)
        if model.summary.details.format != "gguf" or model.can("embedding"):
            raise UnsupportedFeature(
                f"{model.name} is no GGUF model that writes text", hint="only those are optimized"
            )
        files = await asyncio.to_thread(store.verified_files, model)
        if files.adapters:
            raise UnsupportedFeature(
                f"{model.name} has adapters", hint="merge them into the weights before"
            )
        store.blobs.prepare()
        made = store.blobs.directory / f"tmp-{os.getpid()}-{os.urandom(6).hex()}"
        yield Progress(status=f"exporting {model.name} to OpenVINO, {self._bits} bits a weight")
        try:
            with disk_errors("the model store"):
                await convert_file(
                    "openvino_ir",
                    Path(files.weights),
                    made,
                    bits=str(self._bits),
                    group=str(self._group),
                )
            yield Progress(status="writing manifest")
            await asyncio.to_thread(self._keep, made)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        yield Progress(status="success")

    def _keep(self, made: Path) -> None:
        from dimora.models.folders import folder_layers

        store = self._store
        files = {}
        for path in sorted(made.rglob("*")):
            if path.is_file():
                taken = take(path, store.blobs)
                store.remembered.note_verified(taken.digest, store.blobs.path(taken.digest))
                files[path.relative_to(made).as_posix()] = taken.digest
        layers = folder_layers(store, files)
        with store.changing():
            there = store.locate(self._source)
            if there is None:
                raise NotFound(f"model '{self._source}' went away meanwhile")
            manifest = store.manifests.read(there).manifest
            kept = [layer for layer in manifest.layers if layer.kind in _KEPT]
            store.writer.write(store.manifests.locate(self._name) or self._name, [*layers, *kept])


# Everything but the weights goes along.
_KEPT = frozenset({"license", "system", "params", "messages", "template", "document"})


def _require_packages() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("optimum", "nncf", "torch") if find_spec(name) is None]
    if missing:
        raise UnsupportedFeature(
            f"optimizing needs {', '.join(missing)}, not installed here", hint=_EXTRA
        )
