"""Writes models into the store: layers as blobs, a config, and the manifest last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from dimora.core.errors import InvalidModel
from dimora.core.json_text import BAD_JSON
from dimora.models.assembly import Assembly
from dimora.models.formats.facts import in_order
from dimora.models.manifests import (
    CONFIG_LIMIT_BYTES,
    CONFIG_TYPE,
    Layer,
    Manifest,
    Manifests,
    media_type,
)
from dimora.models.names import Name
from dimora.storage.blobs import BlobStore
from dimora.tasks.base import EmbeddingHabits


class ModelWriter:
    """Makes layers and manifests; the caller holds the store's lock while one is written."""

    def __init__(self, blobs: BlobStore, manifests: Manifests, assembly: Assembly) -> None:
        self._blobs = blobs
        self._manifests = manifests
        self._assembly = assembly

    def layer(
        self, kind: str, digest: str, size_bytes: int, *, name: str = "", scale: float = 1.0
    ) -> Layer:
        return Layer(
            media_type=media_type(kind), digest=digest, size=size_bytes, name=name, scale=scale
        )

    def text_layer(self, kind: str, text: str | bytes) -> Layer:
        """Store a small text. Raises StorageFull."""
        data = text.encode() if isinstance(text, str) else text
        return self.layer(kind, self._blobs.put(data), len(data))

    def write(
        self,
        target: Name,
        layers: Sequence[Layer],
        *,
        like: Layer | None = None,
        embedding: EmbeddingHabits | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        """Config and manifest of a model that has these layers.

        `like` is an existing config, of which everything is kept that the layers do not tell and
        `changes` does not change; an empty value removes.

        Raises InvalidModel, StorageFull.
        """
        config = self._config(target.display, layers, like)
        if embedding is not None and embedding != EmbeddingHabits():
            config["embedding"] = msgspec.to_builtins(embedding)
        for key, value in (changes or {}).items():
            config.pop(key, None)
            config.update({key: value} if value else {})
        data = msgspec.json.encode(config)
        manifest = Manifest(
            config=Layer(media_type=CONFIG_TYPE, digest=self._blobs.put(data), size=len(data)),
            layers=tuple(layers),
        )
        self._manifests.write(target, manifest)

    def _config(self, name: str, layers: Sequence[Layer], like: Layer | None) -> dict[str, Any]:
        config: dict[str, Any] = {}
        if like is not None:
            config = _decode_object(self._assembly.bytes_of(like, name), name)
        probe = Manifest(
            config=Layer(media_type=CONFIG_TYPE, digest="", size=0), layers=tuple(layers)
        )
        config.update({"architecture": "amd64", "os": "linux"})
        config["rootfs"] = {"type": "layers", "diff_ids": [layer.digest for layer in layers]}
        if probe.of_kind("model") or probe.of_kind("file"):
            config.update(self._told(probe, name, config))
        return config

    def _told(self, manifest: Manifest, name: str, config: dict[str, Any]) -> dict[str, Any]:
        facts, _, _ = self._assembly.weights(manifest, name)
        own = {} if config.get("derived") else {"capabilities": config.get("capabilities") or ()}
        return {
            "model_format": facts.details.format,
            "model_family": facts.details.family,
            "model_families": facts.details.families,
            "model_type": facts.details.parameter_size,
            "file_type": facts.details.quantization_level,
            "context_length": facts.details.context_length,
            "embedding_length": facts.details.embedding_length,
            "capabilities": in_order(
                {
                    *own.get("capabilities", ()),
                    *facts.capabilities,
                    *self._assembly.layer_capabilities(manifest, name),
                }
            ),
            "derived": True,
        }


def _decode_object(data: bytes, name: str) -> dict[str, Any]:
    if len(data) > CONFIG_LIMIT_BYTES:
        raise InvalidModel(f"the config of {name} is larger than {CONFIG_LIMIT_BYTES} bytes")
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except BAD_JSON as why:
        raise InvalidModel(f"the config of {name} is damaged: {why}") from None
