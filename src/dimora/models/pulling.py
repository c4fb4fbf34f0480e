"""Pulls a model: from its name in the catalogue to a manifest in the store."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from dimora.core.errors import InternalError, NotFound, SourceFailed
from dimora.core.types import Progress
from dimora.models.catalogue import Entry
from dimora.models.convert_file import convert_file
from dimora.models.manifests import LAYER_PREFIX, Layer
from dimora.models.names import Name, parse_name
from dimora.models.sources import SHELF
from dimora.models.sources.base import Fetched, Source
from dimora.storage.blobs import hash_file
from dimora.storage.disk import disk_errors

if TYPE_CHECKING:
    from dimora.models.store import ModelStore


class Pull:
    """Pulls into one store. Status words and their order are Ollama's (contract, section 1.7)."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self._blobs = store.blobs

    async def run(self, name: str) -> AsyncGenerator[Progress, None]:
        """See ModelStore.pull."""
        yield Progress(status="pulling manifest")
        target, entry = self._wanted(name)
        before = await asyncio.to_thread(self._store.digests_of, target)
        if await asyncio.to_thread(self._is_here, entry):
            yield _complete(entry)
        else:
            async with contextlib.aclosing(self._bring(name, entry)) as steps:
                async for progress in steps:
                    yield progress
        yield Progress(status="verifying sha256 digest")
        layers = await asyncio.to_thread(self._layers, entry)
        yield Progress(status="writing manifest")
        await asyncio.to_thread(self._store.commit, target, layers, entry.embedding)
        unused = before - {layer.digest for layer in layers}
        if await asyncio.to_thread(self._store.drop_unreferenced, unused):
            yield Progress(status="removing unused layers")
        yield Progress(status="success")

    def _wanted(self, text: str) -> tuple[Name, Entry]:
        name = parse_name(text)
        entry = self._store.catalogue.find(name) if name is not None else None
        if name is None or entry is None:
            known = ", ".join(entry.name for entry in self._store.catalogue.all())
            raise NotFound(
                "pull model manifest: file does not exist",
                code="model_not_found",
                hint=f"models that can be pulled: {known}",
            )
        return name, entry

    def _is_here(self, entry: Entry) -> bool:
        """Whether the model file is complete; it is read anew, so that a pull mends damage."""
        if self._blobs.size_of(entry.model_digest) is None:
            return False
        if self._store.verify_blob(entry.model_digest):
            return True
        self._blobs.remove(entry.model_digest)
        return False

    async def _bring(self, name: str, entry: Entry) -> AsyncGenerator[Progress, None]:
        source: Source = SHELF.load(entry.source)
        fetched: Fetched | None = None
        async with contextlib.aclosing(source.fetch(name, entry, self._blobs)) as steps:
            async for step in steps:
                if isinstance(step, Fetched):
                    fetched = step
                else:
                    yield step
        if fetched is None or fetched.digest != entry.digest:
            raise SourceFailed(f"{entry.source} brought another file than it should")
        yield _complete(entry)
        if entry.product is not None:
            yield Progress(status="converting model")
            await self._convert(entry)

    async def _convert(self, entry: Entry) -> None:
        """Make the model file of what was fetched, which is not needed any more then."""
        product = entry.product
        if product is None:
            return
        made = self._blobs.directory / f"tmp-{os.getpid()}-{os.urandom(6).hex()}"
        try:
            with disk_errors("the model store"):
                await convert_file(product.conversion, self._blobs.path(entry.digest), made)
                if await asyncio.to_thread(hash_file, made) != entry.model_digest:
                    raise InternalError(
                        f"the conversion {product.conversion} made another file than it should",
                        hint="the package gguf may have changed; install the one Dimora asks for",
                    )
                await asyncio.to_thread(self._blobs.adopt, made, entry.model_digest)
        finally:
            made.unlink(missing_ok=True)
        self._blobs.remove(entry.digest)

    def _layers(self, entry: Entry) -> list[Layer]:
        if not self._store.verify_blob(entry.model_digest):
            raise SourceFailed(
                f"digest mismatch, file must be downloaded again: {entry.model_digest}"
            )
        model = Layer(
            media_type=f"{LAYER_PREFIX}model", digest=entry.model_digest, size=entry.model_bytes
        )
        return [model, self._store.layer("license", f"{entry.notice}\nSPDX: {entry.license}\n")]


def _complete(entry: Entry) -> Progress:
    return Progress(
        status=f"pulling {entry.model_digest[7:19]}",
        digest=entry.model_digest,
        total_bytes=entry.package_bytes,
        completed_bytes=entry.package_bytes,
    )
