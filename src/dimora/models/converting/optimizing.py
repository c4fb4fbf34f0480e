"""Makes the OpenVINO form of a GGUF model: a folder of IR, kept in the store as a model."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from dimora.core.errors import Conflict, StorageFull, UnsupportedFeature
from dimora.core.types import Progress
from dimora.models.converting.convert_file import convert_steps
from dimora.models.converting.importing import require_libraries
from dimora.models.converting.ir_choices import Compression, choose_compression, require_exportable
from dimora.models.formats.folders import folder_layers
from dimora.models.formats.gguf import Header, read_header
from dimora.models.names import require_name
from dimora.storage.blobs import hash_file
from dimora.storage.disk import disk_errors, require_room
from dimora.tasks.base import Model

if TYPE_CHECKING:
    from dimora.models.store import ModelStore

_PLACE = "the model store"
_LIBRARIES = ("openvino", "openvino_tokenizers", "optimum.exporters", "optimum.intel", "nncf")
# The words that go along; all else belongs to the weights.
_KEPT = frozenset({"license", "system", "params", "messages", "template", "document"})
# The libraries, and for each weight its 4 bytes and what becomes of them: 1.8 GB for 135 million.
_MEMORY_BYTES, _MEMORY_BYTES_A_WEIGHT = 0.7e9, 9.0
# Both forms lie on the disk at the end, the uncompressed one in 16 bits.
_DISK_BYTES_A_WEIGHT = 3.2
_FORMATS = {"openvino": "is in OpenVINO's format already", "onnx": "is an ONNX folder"}
_EXACT = frozenset({"F32", "F16", "BF16", "Q8_0"})


class Optimization:
    """One run of `ModelStore.optimize`."""

    def __init__(
        self,
        store: ModelStore,
        name: str,
        source: str,
        *,
        bits: int,
        group: int,
        warnings: list[str],
    ) -> None:
        self._store = store
        self._target = require_name(name, "name")
        self._source = source
        self._bits = bits
        self._group = group
        self._warnings = warnings

    async def run(self) -> AsyncGenerator[Progress, None]:
        """See ModelStore.optimize."""
        store = self._store
        model = await asyncio.to_thread(store.find, self._source)
        _require_source(model)
        files = await asyncio.to_thread(store.verified_files, model)
        weights = Path(files.weights)
        header = await asyncio.to_thread(read_header, weights)
        require_exportable(header)
        compression = choose_compression(header, self._bits, self._group)
        require_libraries("optimizing", _LIBRARIES, "optimize")
        self._require_room(header)
        self._warn(model)
        made = store.blobs.scratch_path()
        try:
            with disk_errors(_PLACE):
                async with aclosing(_convert(weights, made, compression)) as steps:
                    async for status in steps:
                        yield Progress(status=status)
                yield Progress(status="writing manifest")
                await asyncio.to_thread(self._keep, made, model)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        yield Progress(status="success")

    def _require_room(self, header: Header) -> None:
        """Raises StorageFull when memory or disk would not do."""
        count = sum(tensor.elements for tensor in header.tensors)
        needed, free = (
            _MEMORY_BYTES + count * _MEMORY_BYTES_A_WEIGHT,
            psutil.virtual_memory().available,
        )
        if needed > free:
            raise StorageFull(
                f"exporting this model takes about {needed / 1e9:.1f} GB of memory, and"
                f" {free / 1e9:.1f} GB are free",
                hint="`dimora stop` unloads models; `dimora quantize` needs little memory",
            )
        self._store.blobs.prepare()
        needed_disk = int(count * _DISK_BYTES_A_WEIGHT)
        require_room(self._store.blobs.directory, needed_disk, _PLACE)

    def _warn(self, model: Model) -> None:
        level = model.summary.details.quantization_level
        if not set(model.tensor_types) <= _EXACT:
            self._warnings.append(
                f"made of {level}: a source in F16, BF16 or Q8_0 gives a better model"
            )
        if model.draft_digest:
            self._warnings.append("the draft stays behind: it goes with GGUF models only")

    def _keep(self, made: Path, model: Model) -> None:
        store = self._store
        files = {}
        for path in sorted(made.rglob("*")):
            if path.is_file():
                digest = hash_file(path)
                store.blobs.adopt(path, digest)
                store.remembered.note_verified(digest, store.blobs.path(digest))
                files[path.relative_to(made).as_posix()] = digest
        layers = folder_layers(store, files)
        before = store.digests_of(self._target)
        with store.changing():
            there = store.locate(self._source)
            stored = store.manifests.read(there) if there else None
            if stored is None or stored.digest != model.summary.digest:
                raise Conflict(f"{self._source!r} was changed meanwhile", hint="try again")
            kept = [layer for layer in stored.manifest.layers if layer.kind in _KEPT]
            target = store.manifests.locate(self._target) or self._target
            store.writer.write(target, [*layers, *kept], like=stored.manifest.config)
        store.templates(self._target)
        unused = before | set(files.values())
        store.drop_unreferenced(unused - store.digests_of(self._target))


def _require_source(model: Model) -> None:
    """Raises UnsupportedFeature for what is no GGUF model of text alone."""
    format_ = model.summary.details.format
    if format_ != "gguf":
        known = model.card.before.name if model.card is not None else ""
        raise UnsupportedFeature(
            f"{model.name!r} {_FORMATS.get(format_, 'is no GGUF model')}",
            hint=f"begin with what it was made of: dimora optimize {known}"
            if known
            else "begin with the GGUF model, or a model created from safetensors",
        )
    if model.can("embedding"):
        raise UnsupportedFeature(
            f"{model.name!r} gives vectors, and only models that write text are optimized"
        )
    if model.adapters:
        raise UnsupportedFeature(
            f"{model.name!r} has adapters, which the export would lose",
            hint="optimize the model without them",
        )
    if model.projector_digest:
        raise UnsupportedFeature(
            f"{model.name!r} sees pictures, and only models of text alone are optimized"
        )


async def _convert(
    weights: Path, made: Path, compression: Compression
) -> AsyncGenerator[str, None]:
    choices = {"bits": str(compression.bits), "group": str(compression.group)}
    async with aclosing(convert_steps("openvino_ir", weights, made, **choices)) as steps:
        async for status in steps:
            yield status
