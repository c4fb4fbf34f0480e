"""Model files that are truncated, altered or gone: named by digest, and no engine sees them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from dimora.core.errors import InvalidModel, NotFound
from dimora.models.store import ModelStore
from dimora.tasks.base import Model

CHAT_MODEL = "smollm2:135m"


@pytest.fixture
def store(home: Path) -> ModelStore:
    """A store of this test's own with the real models in it."""
    return ModelStore(home / "models", cache_path=home / "cache")


def blob_of(store: ModelStore, model: Model) -> Path:
    return store.blobs.path(model.weights_digest)


def detach(blob: Path) -> Path:
    """A copy in the blob's place, since other homes share the original."""
    copy = blob.with_name("copy")
    shutil.copyfile(blob, copy)
    copy.replace(blob)
    return blob


def test_the_real_models_are_found_and_verified(store: ModelStore) -> None:
    chat, embedder = store.find(CHAT_MODEL), store.find("multilingual-e5-small")
    assert chat.summary.details.parameter_size == "134.52M"
    assert chat.summary.details.quantization_level == "Q4_1"
    assert chat.trained_context == 8192
    assert chat.can("completion") and chat.chat_template
    assert (chat.bos_token, chat.eos_token) == ("<|im_start|>", "<|im_end|>")
    assert embedder.can("embedding") and not embedder.can("completion")
    assert embedder.trained_context == 512
    assert embedder.embedding.query_prefix == "query: "
    for model in (chat, embedder):
        assert store.verified_files(model).weights == str(blob_of(store, model))
        assert model.licenses


@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.5, 0.999999])
def test_a_truncated_model_is_refused_by_its_digest(store: ModelStore, share: float) -> None:
    known = store.find(CHAT_MODEL)
    blob = detach(blob_of(store, known))
    os.truncate(blob, int(blob.stat().st_size * share))
    fresh = ModelStore(store.root)
    for attempt in (lambda: store.verified_files(known), lambda: fresh.find(CHAT_MODEL)):
        with pytest.raises(InvalidModel, match=known.weights_digest) as caught:
            attempt()
        assert str(store.root) not in caught.value.text
        assert caught.value.hint


@pytest.mark.parametrize("place", [-1, 5_000_000, 60_000_000])
def test_one_altered_byte_in_the_weights_is_refused_by_the_digest(
    store: ModelStore, place: int
) -> None:
    model = store.find(CHAT_MODEL)
    store.verified_files(model)
    blob = detach(blob_of(store, model))
    with blob.open("r+b") as file:
        file.seek(place, os.SEEK_END if place < 0 else os.SEEK_SET)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0x10]))
    for each in (store, ModelStore(store.root)):
        with pytest.raises(InvalidModel, match=model.weights_digest):
            each.verified_files(each.find(CHAT_MODEL))


def test_an_altered_header_is_refused_by_the_digest(store: ModelStore) -> None:
    digest = store.find(CHAT_MODEL).weights_digest
    blob = detach(store.blobs.path(digest))
    with blob.open("r+b") as file:
        file.seek(8)
        file.write(b"\xff" * 8)
    with pytest.raises(InvalidModel, match=digest):
        ModelStore(store.root).find(CHAT_MODEL)


def test_a_missing_model_file_is_named_and_other_models_still_work(store: ModelStore) -> None:
    known = store.find(CHAT_MODEL)
    blob_of(store, known).unlink()
    with pytest.raises(InvalidModel, match=known.weights_digest):
        store.verified_files(known)
    fresh = ModelStore(store.root)
    with pytest.raises(InvalidModel, match=known.weights_digest):
        fresh.find(CHAT_MODEL)
    assert {row.name for row in fresh.all()} == {CHAT_MODEL, "multilingual-e5-small:latest"}
    assert fresh.verified_files(fresh.find("multilingual-e5-small"))
    fresh.delete(CHAT_MODEL)
    with pytest.raises(NotFound):
        fresh.find(CHAT_MODEL)


def test_a_truncated_bare_file_is_refused(smollm2_path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.gguf"
    shutil.copyfile(smollm2_path, copy)
    store = ModelStore(tmp_path / "models")
    assert store.find_file(copy).can("completion")
    os.truncate(copy, copy.stat().st_size - 4096)
    with pytest.raises(InvalidModel, match="truncated"):
        store.find_file(copy)


@pytest.mark.parametrize("content", [b"", b"GGUF", b"{}", b"PK\x03\x04", b"<html></html>" * 100])
def test_files_that_are_no_models_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(InvalidModel):
        ModelStore(tmp_path / "models").find_file(path)
