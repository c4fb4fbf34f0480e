"""Brings a model from a registry into the store: the manifest, then every blob it names."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import msgspec

from dimora.core.errors import InvalidModel, NotFound
from dimora.core.json_text import BAD_JSON
from dimora.core.types import Progress
from dimora.models.formats.file_kinds import require_harmless
from dimora.models.manifests import (
    LAYER_PREFIX,
    OUR_PREFIX,
    TEXT_LIMIT_BYTES,
    Layer,
    Manifest,
    StoredManifest,
    decode_manifest,
    media_type,
)
from dimora.models.names import DEFAULT_HOST, DEFAULT_NAMESPACE, is_relative_path
from dimora.models.remote.network import Network, Refused
from dimora.models.remote.registry import (
    DOCKER_LIST_TYPE,
    OCI_INDEX_TYPE,
    Registry,
    choose_manifest,
    digest_of,
    find_registry,
)
from dimora.models.sources.base import Brought, Wanted
from dimora.models.taking import Taken
from dimora.storage.disk import disk_errors, require_room

if TYPE_CHECKING:
    from dimora.models.store import ModelStore

_LISTS = frozenset({OCI_INDEX_TYPE, DOCKER_LIST_TYPE})
_TITLE = "org.opencontainers.image.title"
_WEIGHTS = frozenset({"model", "projector", "adapter", "draft"})
_LARGE = _WEIGHTS | {"file", "document", "tensor"}


async def bring(wanted: Wanted, store: ModelStore) -> AsyncGenerator[Progress | Brought, None]:
    """See sources.base.Source.fetch."""
    registry, data = await _find(wanted, Network(store.access))
    brought = await asyncio.to_thread(_plan, data, wanted, store)
    digests = {layer.digest for layer in brought.layers}
    for layer in brought.layers:
        async with contextlib.aclosing(
            registry.fetch(layer.digest, layer.size, store.blobs).run()
        ) as steps:
            async for step in steps:
                if isinstance(step, Taken):
                    path = store.blobs.path(step.digest)
                    await asyncio.to_thread(store.remembered.note_verified, step.digest, path)
                else:
                    await asyncio.to_thread(store.keep_fresh, digests)
                    yield step
    try:
        await asyncio.to_thread(_check, brought, wanted, store)
    except InvalidModel:
        await asyncio.to_thread(store.drop_unreferenced, digests)
        raise
    yield brought


async def bring_blob(
    wanted: Wanted, layer: Layer, store: ModelStore
) -> AsyncGenerator[Progress, None]:
    """See sources.base.Source.fetch_blob."""
    repositories = await _repositories(wanted, Network(store.access))
    for registry in repositories:
        fetch = registry.fetch(layer.digest, layer.size, store.blobs)
        try:
            async with contextlib.aclosing(fetch.run()) as steps:
                async for step in steps:
                    if isinstance(step, Progress):
                        yield step
        except (NotFound, Refused):
            if registry is repositories[-1]:
                raise
        else:
            return


async def _find(wanted: Wanted, network: Network) -> tuple[Registry, bytes]:
    """The repository that has the model, and its manifest. Raises NotFound, SourceFailed."""
    repositories = await _repositories(wanted, network)
    for registry in repositories:
        try:
            data, kind = await registry.manifest(wanted.name.tag)
        except (NotFound, Refused):
            if registry is repositories[-1]:
                raise
            continue
        break
    if kind in _LISTS:
        data, _ = await registry.manifest(choose_manifest(data))
    return registry, data


async def _repositories(wanted: Wanted, network: Network) -> list[Registry]:
    """Where the model may be, at least one place. Raises SourceFailed."""
    name = wanted.name
    url = await find_registry(network, name, wanted.text, insecure=wanted.insecure)
    found = [f"{name.namespace}/{name.model}"]
    if name.namespace == DEFAULT_NAMESPACE and name.host != DEFAULT_HOST:
        # Registries of other tools have repositories without a namespace.
        found.append(name.model)
    return [Registry(network, url, place, insecure=wanted.insecure) for place in found]


def _plan(data: bytes, wanted: Wanted, store: ModelStore) -> Brought:
    """What has to come. Raises InvalidModel, StorageFull when there is no room for it."""
    name = wanted.name.display
    manifest = decode_manifest(data, name)
    if manifest.layers and all(_is_ours(layer) for layer in manifest.layers):
        # The config is one of the blobs; the manifest is kept byte for byte.
        if not any(layer.kind in ("model", "file") for layer in manifest.layers):
            raise InvalidModel(f"{name} has no model in it that Dimora can run")
        brought = Brought(layers=(*manifest.layers, manifest.config), manifest=data)
    else:
        brought = Brought(layers=_foreign_layers(data, manifest, name))
    missing = 0
    for layer in brought.layers:
        if layer.name and not is_relative_path(layer.name):
            raise InvalidModel(f"the manifest of {name} names a file that is no relative path")
        if layer.kind not in _LARGE and layer.size > TEXT_LIMIT_BYTES:
            raise InvalidModel(f"a {layer.kind[:40]} layer of {layer.size} bytes is too large")
        if store.blobs.size_of(layer.digest) is None:
            missing += layer.size
    with disk_errors("the model store"):
        store.blobs.prepare()
        require_room(store.blobs.directory, missing, "the model store")
    return brought


def _is_ours(layer: Layer) -> bool:
    return layer.media_type.startswith((LAYER_PREFIX, OUR_PREFIX))


class _Titled(msgspec.Struct, rename="camel"):
    media_type: str = ""
    annotations: dict[str, str] | None = None


class _TitledManifest(msgspec.Struct):
    layers: list[_Titled] = []


def _foreign_layers(data: bytes, manifest: Manifest, name: str) -> tuple[Layer, ...]:
    """Our layers of an artifact another tool made: its GGUF files, and its licences."""
    try:
        titled = msgspec.json.decode(data, type=_TitledManifest).layers
    except BAD_JSON as why:
        raise InvalidModel(f"the manifest of {name} is damaged: {why}") from None
    found = []
    for layer, told in zip(manifest.layers, titled, strict=True):
        title = (told.annotations or {}).get(_TITLE, "")
        kind = _kind_of(told.media_type, title)
        if kind:
            found.append(Layer(media_type=media_type(kind), digest=layer.digest, size=layer.size))
    if sum(layer.kind == "model" for layer in found) != 1:
        raise InvalidModel(
            f"{name} is not a model Dimora knows: it must have exactly one GGUF file",
            hint="push it with Ollama's media types, or as one layer whose title ends in .gguf",
        )
    return tuple(found)


def _kind_of(media: str, title: str) -> str:
    words = f"{media} {title}".lower()
    if "gguf" in words:
        return "projector" if "mmproj" in words or "projector" in words else "model"
    return "license" if "license" in words or "licence" in words else ""


def _check(brought: Brought, wanted: Wanted, store: ModelStore) -> None:
    """Look at everything that came before it can be seen as a model. Raises InvalidModel."""
    name = wanted.name
    for layer in brought.layers:
        if layer.kind in _WEIGHTS:
            store.assembly.header(layer, name.display)
        elif layer.kind in ("file", "tensor"):
            require_harmless(store.blobs.path(layer.digest), layer.name)
    if brought.manifest:
        stored = StoredManifest(
            name=name,
            manifest=decode_manifest(brought.manifest, name.display),
            digest=digest_of(brought.manifest)[7:],
            modified_at=0.0,
            stamp=(0, 0, 0),
        )
        store.assembly.model(stored)
