"""Two stores, and a bundle of the first one's models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dimora.models.store import ModelStore
from tests.unit.models.bundles.bundling import (
    HOST,
    LIBRARY,
    export,
    store_at,
)
from tests.unit.models.bundles.forging import Forgery
from tests.unit.models.making import OllamaStore, tiny_adapter, tiny_gguf


@pytest.fixture
def weights(tmp_path: Path) -> bytes:
    return tiny_gguf(tmp_path / "tiny.gguf").read_bytes()


@pytest.fixture
def ours(tmp_path: Path, weights: bytes) -> ModelStore:
    """Two models that share their weights; one has an adapter and a document."""
    adapter = tiny_adapter(tmp_path / "adapter.gguf").read_bytes()
    written = OllamaStore(tmp_path / "ours" / "models")
    written.model((*LIBRARY, "tiny", "latest"), [("model", weights), ("system", b"Be kind.")])
    path = written.model(HOST, [("model", weights), ("adapter", adapter)])
    manifest = json.loads(path.read_text())
    document = {"mediaType": "application/vnd.dimora.image.document", "name": "notes/a.txt"}
    manifest["layers"].append(document | written.blob(b"Remember the milk."))
    path.write_text(json.dumps(manifest))
    return store_at(tmp_path / "ours")


@pytest.fixture
def theirs(tmp_path: Path) -> ModelStore:
    return store_at(tmp_path / "theirs")


@pytest.fixture
def bundle(ours: ModelStore, tmp_path: Path) -> Path:
    path = tmp_path / "models.bundle"
    export(ours, ["tiny", "registry.example:5000/me/other:q4"], path)
    return path


@pytest.fixture
def forgery(ours: ModelStore, bundle: Path) -> Forgery:
    return Forgery(bundle, ours.root.parent / "keys" / "bundle-ed25519")
