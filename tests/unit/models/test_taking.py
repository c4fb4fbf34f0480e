"""Files of this machine on their way into the store."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path

import pytest

from dimora.core.errors import BadRequest, InvalidModel, NotFound
from dimora.core.types import Progress
from dimora.models import taking
from dimora.models.store import ModelStore
from dimora.models.taking import take
from dimora.storage.blobs import BlobStore
from dimora.tasks.base import StoredBlob
from dimora.tasks.recipe import Recipe
from tests.unit.models.making import digest_of, tiny_gguf

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links are for POSIX")


@pytest.fixture(autouse=True)
def small_files_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "_LINKED_LEAST_BYTES", 1)
    # A disk that shares blocks would leave nothing to link.
    monkeypatch.setattr(taking, "_share", lambda path, taken: False)


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "models")


def weights(tmp_path: Path, data: bytes = b"weights") -> Path:
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    path.chmod(0o664)
    return path


def test_a_linked_file_is_the_same_bytes_and_read_only(tmp_path: Path, blobs: BlobStore) -> None:
    path = weights(tmp_path)
    taken = take(path, blobs, link=True)
    assert taken.linked and taken.digest == digest_of(b"weights")
    assert blobs.path(taken.digest).samefile(path)
    assert path.stat().st_mode & 0o777 == 0o444
    assert [p.name for p in blobs.directory.iterdir()] == [blobs.path(taken.digest).name]


def test_taken_again_it_stays_as_it_is(tmp_path: Path, blobs: BlobStore) -> None:
    path = weights(tmp_path)
    assert take(path, blobs, link=True) == take(path, blobs, link=True)
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(b"weights")
    copy.chmod(0o664)
    assert not take(copy, blobs, link=True).linked, "the store has these bytes already"
    assert copy.stat().st_mode & 0o777 == 0o664, "it was not linked, so it may be changed"
    assert blobs.path(digest_of(b"weights")).samefile(path)


def test_a_damaged_blob_is_replaced(tmp_path: Path, blobs: BlobStore) -> None:
    digest = blobs.put(b"weights")
    blobs.path(digest).write_bytes(b"WEIGHTS")
    take(weights(tmp_path), blobs, link=True)
    assert blobs.path(digest).read_bytes() == b"weights"


def test_small_files_documents_and_whoever_does_not_want_links_get_copies(
    tmp_path: Path, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = weights(tmp_path)
    document = tmp_path / "guide.txt"
    document.write_bytes(b"text")
    assert not take(path, blobs).linked
    assert not take(document, blobs, link=True).linked
    monkeypatch.setattr(taking, "_LINKED_LEAST_BYTES", 100)
    assert not take(path, blobs, link=True).linked
    assert path.stat().st_mode & 0o777 == 0o664
    for file in (path, document):
        assert not blobs.path(digest_of(file.read_bytes())).samefile(file)


def test_a_link_of_another_owner_is_not_made(
    tmp_path: Path, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = weights(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    assert not take(path, blobs, link=True).linked


def test_a_symbolic_link_is_followed_to_the_file(tmp_path: Path, blobs: BlobStore) -> None:
    path = weights(tmp_path)
    (tmp_path / "link.gguf").symlink_to(path)
    taken = take(tmp_path / "link.gguf", blobs, link=True)
    assert blobs.path(taken.digest).samefile(path)
    assert not blobs.path(taken.digest).is_symlink()


def test_what_is_no_file_is_refused(tmp_path: Path, blobs: BlobStore) -> None:
    with pytest.raises(NotFound, match=r"there is no file 'x\.gguf'"):
        take(tmp_path / "x.gguf", blobs)
    os.mkfifo(tmp_path / "pipe.gguf")
    for odd in (tmp_path, tmp_path / "pipe.gguf"):
        with pytest.raises(BadRequest, match="not a plain file"):
            take(odd, blobs)


@pytest.mark.parametrize("link", [True, False])
def test_a_file_that_changes_meanwhile_is_refused(
    tmp_path: Path, blobs: BlobStore, link: bool
) -> None:
    path = weights(tmp_path)

    def change(count: int) -> None:
        if count == len(b"weights"):
            path.chmod(0o600)
            with path.open("ab") as file:
                file.write(b"more")

    with pytest.raises(BadRequest, match="is being changed"):
        take(path, blobs, link=link, note=change)
    assert list(blobs.directory.iterdir()) == []
    assert path.read_bytes().startswith(b"weights")


def test_a_later_change_of_a_linked_file_is_found_before_it_is_loaded(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models", link_files=True)
    path = tiny_gguf(tmp_path / "m.gguf")

    async def create() -> None:
        digest = ""
        async for step in store.take_file(path):
            if isinstance(step, StoredBlob):
                assert step.linked
                digest = step.digest
        async for _ in store.create("m", Recipe(files={"m.gguf": digest}), []):
            pass

    asyncio.run(create())
    model = store.find("m")
    store.verified_files(model)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"XXXX")
    with pytest.raises(InvalidModel, match="is damaged") as caught:
        store.verified_files(model)
    assert "linked" in caught.value.hint


async def test_whoever_waits_is_told_how_far_it_is_and_may_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(taking, "_TELL_SECONDS", 0.001)
    store = ModelStore(tmp_path / "models")
    path = weights(tmp_path, bytes(64 << 20))
    steps = store.take_file(path)
    first = await anext(steps)
    assert isinstance(first, Progress) and first.total_bytes == 64 << 20
    await steps.aclose()
    assert list(store.blobs.directory.iterdir()) == []
    del steps
    gc.collect()
    assert caplog.records == [], "the loop complains of what nobody looked at"
