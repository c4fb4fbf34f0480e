"""Brings a model from a registry into the store: the manifest, then every blob it names."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import msgspec

from dimora.core.errors import InvalidModel
from dimora.core.types import Progress
from dimora.models.manifests import (
    LAYER_PREFIX,
    OUR_PREFIX,
    TEXT_LIMIT_BYTES,
    Layer,
    Manifest,
    decode_manifest,
    media_type,
)
from dimora.models.network import Network
from dimora.models.registry import (
    DOCKER_LIST_TYPE,
    OCI_INDEX_TYPE,
    Registry,
    choose_manifest,
    registry_url,
)
from dimora.models.sources.base import Brought, Wanted
from dimora.models.taking import Taken
from dimora.storage.disk import disk_errors, require_room

if TYPE_CHECKING:
    from dimora.models.store import ModelStore

_LISTS = frozenset({OCI_INDEX_TYPE, DOCKER_LIST_TYPE})
_TITLE = "org.opencontainers.image.title"
_LARGE = frozenset({"model", "projector", "adapter", "draft", "file", "document", "tensor"})


async def bring(wanted: Wanted, store: ModelStore) -> AsyncGenerator[Progress | Brought, None]:
    """See sources.base.Source.fetch."""
    name = wanted.name
    url = registry_url(name, wanted.text, insecure=wanted.insecure)
    network = Network(store.access)
    registry = Registry(
        network,
        url,
        f"{name.namespace}/{name.model}",
        insecure=wanted.insecure or url.startswith("http://"),
    )
    data, kind = await registry.manifest(name.tag)
    if kind in _LISTS:
        data, kind = await registry.manifest(choose_manifest(data))
    brought = await asyncio.to_thread(_plan, data, wanted, store)
    for layer in brought.layers:
        async with contextlib.aclosing(
            registry.fetch(layer.digest, layer.size, store.blobs).run()
        ) as steps:
            async for step in steps:
                if isinstance(step, Taken):
                    path = store.blobs.path(step.digest)
                    await asyncio.to_thread(store.remembered.note_verified, step.digest, path)
                else:
                    yield step
    await asyncio.to_thread(_check, brought, wanted, store)
    yield brought


def _plan(data: bytes, wanted: Wanted, store: ModelStore) -> Brought:
    """What has to come. Raises InvalidModel, StorageFull when there is no room for it."""
    name = wanted.name.display
    manifest = decode_manifest(data, name)
    if all(_is_ours(layer) for layer in manifest.layers):
        # The config is one of the blobs; the manifest is kept byte for byte.
        brought = Brought(layers=(*manifest.layers, manifest.config), manifest=data)
    else:
        brought = Brought(layers=_foreign_layers(data, manifest, name))
    missing = 0
    for layer in brought.layers:
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
    except (msgspec.DecodeError, UnicodeDecodeError) as why:
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
    """Read the headers of model files before anything is visible. Raises InvalidModel."""
    for layer in brought.layers:
        if layer.kind in ("model", "projector", "draft"):
            store.assembly.header(layer, wanted.name.display)
