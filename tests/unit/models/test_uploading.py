"""Uploads: whoever waits for the disk waits in a thread, so that the server goes on answering."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dimora.core.errors import BadRequest, StorageFull
from dimora.models.store import ModelStore
from tests.unit.models.making import digest_of


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models", cache_path=tmp_path / "cache")


async def sent(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_the_end_of_an_upload_waits_for_the_disk_in_a_thread(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[int] = []
    settle = os.fsync

    def note(file: int) -> None:
        waiting.append(threading.get_ident())
        settle(file)

    monkeypatch.setattr(os, "fsync", note)
    stored = await store.store_blob(digest_of(b"weights"), sent(b"wei", b"ghts"), 7)
    assert stored.created and stored.size_bytes == 7
    assert store.is_verified(stored.digest)
    assert waiting and threading.get_ident() not in waiting
    assert not (await store.store_blob(stored.digest, sent(b"other"), None)).created


async def test_an_upload_that_fails_leaves_nothing(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = digest_of(b"weights")
    for pieces, size, words in (
        ((b"weighs",), None, "digest mismatch"),
        ((b"weights",), 8, "instead of 8"),
    ):
        with pytest.raises(BadRequest, match=words):
            await store.store_blob(digest, sent(*pieces), size)

    async def cancelled() -> AsyncIterator[bytes]:
        yield b"x" * (1 << 20)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await store.store_blob(digest, cancelled(), None)

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull):
        await store.store_blob(digest, sent(b"weights"), None)
    assert list(store.blobs.directory.iterdir()) == []
