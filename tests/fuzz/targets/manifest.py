"""A manifest, as a registry sends it: digests that are digests, names that lead nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

from dimora.core.errors import InvalidModel
from dimora.models.manifests import MANIFEST_TYPE, OUR_KINDS, decode_manifest, media_type
from dimora.storage.blobs import BlobStore

REFUSAL = InvalidModel
_DIGEST = "sha256:" + "0123456789abcdef" * 4


def seeds() -> list[bytes]:
    kinds = ["model", "template", "params", "license", "projector", "adapter"]
    layers = [
        {"mediaType": media_type(kind), "digest": _DIGEST, "size": 5, "from": "/x"}
        for kind in kinds
    ]
    folder = [
        {"mediaType": media_type("file"), "digest": _DIGEST, "size": 5, "name": "a/config.json"},
        {"mediaType": media_type("document"), "digest": _DIGEST, "size": 5, "name": "a.txt"},
    ]
    config = {"mediaType": "x", "digest": _DIGEST, "size": 9}
    head = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config}
    return [
        json.dumps(head | {"layers": each}).encode() for each in (layers, folder, layers + folder)
    ]


def read(data: bytes) -> None:
    manifest = decode_manifest(data, "x")
    store = BlobStore(Path("/store"))
    for digest in manifest.digests:
        if store.path(digest).parent != Path("/store/blobs"):
            raise AssertionError("a digest leads out of the store")
    for layer in manifest.layers:
        parts = Path(layer.name).parts if layer.kind in OUR_KINDS else ()
        if ".." in parts or "/" in parts:
            raise AssertionError("a name leads out of its folder")
