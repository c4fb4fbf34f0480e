"""Pushes a model to the registry its name says: what is missing there, then the manifest."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING

from dimora.core.errors import BadRequest, InvalidModel, NotFound
from dimora.core.types import Progress
from dimora.models.manifests import MANIFEST_TYPE, Layer, decode_manifest
from dimora.models.names import DEFAULT_NAMESPACE, Name, parse_name, without_scheme
from dimora.models.remote.network import Network
from dimora.models.remote.registry import Registry, find_registry
from dimora.models.sources.base import HUB_HOSTS

if TYPE_CHECKING:
    from dimora.models.store import ModelStore


class Push:
    """Pushes from one store. Status words and their order are Ollama's (contract, section 1.7)."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store

    async def run(self, text: str, *, insecure: bool) -> AsyncGenerator[Progress, None]:
        """See ModelStore.push."""
        yield Progress(status="retrieving manifest")
        name = parse_name(without_scheme(text))
        if name is None:
            raise BadRequest("invalid model name", param="model")
        if name.host.lower() in HUB_HOSTS:
            raise BadRequest(f"{name.host} takes no pushes", hint="use the hub's own program")
        data, kind = await asyncio.to_thread(self._manifest, text)
        manifest = decode_manifest(data, name.display)
        network = Network(self._store.access)
        url = await find_registry(network, name, text, insecure=insecure)
        registry = Registry(network, url, f"{name.namespace}/{name.model}", insecure=insecure)
        for layer in {
            layer.digest: layer for layer in (*manifest.layers, manifest.config)
        }.values():
            async with contextlib.aclosing(self._push_layer(registry, layer, text, name)) as steps:
                async for progress in steps:
                    yield progress
        yield Progress(status="pushing manifest")
        await registry.push_manifest(name.tag, data, kind)
        yield Progress(status="success")

    def _manifest(self, text: str) -> tuple[bytes, str]:
        """The bytes of the manifest, and the media type it gives itself."""
        there = self._store.locate(without_scheme(text))
        if there is None:
            raise NotFound(
                f"model '{text[:400]}' not found",
                code="model_not_found",
                hint="`dimora cp` gives a model a name with a registry, such as"
                f" my.registry/{DEFAULT_NAMESPACE}/model",
            )
        data = self._store.manifests.read_bytes(there)

        return data, decode_manifest(data, there.display).media_type or MANIFEST_TYPE

    def _known_in(self, digest: str, name: Name) -> str:
        """Another repository of the same registry that may have the blob, as far as we know."""
        for other in self._store.manifests.names():
            if other.host == name.host and other.parts[:3] != name.parts[:3]:
                with contextlib.suppress(InvalidModel, FileNotFoundError):
                    if digest in self._store.manifests.read(other).manifest.digests:
                        return f"{other.namespace}/{other.model}"
        return ""

    async def _push_layer(
        self, registry: Registry, layer: Layer, text: str, name: Name
    ) -> AsyncGenerator[Progress, None]:
        status = f"pushing {layer.digest[7:19]}"

        def progress(completed: int) -> Progress:
            return Progress(
                status=status,
                digest=layer.digest,
                total_bytes=layer.size,
                completed_bytes=completed,
            )

        yield progress(0)
        if not await registry.has_blob(layer.digest):
            path: Path = await asyncio.to_thread(self._store.assembly.verify, layer, text)
            known = await asyncio.to_thread(self._known_in, layer.digest, name)
            async with contextlib.aclosing(
                registry.push_blob(layer.digest, path, known_in=known)
            ) as steps:
                async for step in steps:
                    yield progress(step.completed_bytes)
        yield progress(layer.size)
