"""Blobs appear whole or not at all, and no digest leads out of their directory."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimora.core.errors import BadRequest, InternalError
from dimora.storage.blobs import BlobStore, hash_file, is_digest


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.mark.parametrize(
    "digest",
    [
        "",
        "sha256:",
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 65,
        "sha256:" + "A" * 64,
        "sha256-" + "a" * 64,
        "sha256:" + "a" * 64 + "\n",
        "sha256:../../../../etc/passwd",
        "sha256:" + "/" * 64,
        "sha256:" + "a" * 60 + "/../",
        "md5:" + "a" * 64,
        "../sha256:" + "a" * 64,
    ],
)
def test_what_is_not_a_digest_gives_no_path(tmp_path: Path, digest: str) -> None:
    store = BlobStore(tmp_path)
    for give_path in (store.path, store.partial_path, store.lock_path, store.size_of):
        with pytest.raises(BadRequest) as caught:
            give_path(digest)
        assert str(tmp_path) not in caught.value.message


@given(st.text(max_size=80))
def test_every_path_given_for_any_text_lies_in_the_blobs_directory(text: str) -> None:
    store = BlobStore(Path("/store"))
    if is_digest(text):
        assert store.path(text).parent == Path("/store/blobs")
    else:
        with pytest.raises(BadRequest):
            store.path(text)


def test_bytes_put_in_come_out_under_their_digest(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    digest = store.put(b"model")
    assert digest == digest_of(b"model")
    assert store.path(digest).read_bytes() == b"model"
    assert store.path(digest).name == "sha256-" + digest[7:]
    assert store.read(digest, limit_bytes=10) == b"model"
    assert store.read(digest, limit_bytes=4) is None
    assert hash_file(store.path(digest)) == digest
    assert os.name == "nt" or store.directory.stat().st_mode & 0o777 == 0o700


def test_a_writer_with_the_wrong_bytes_leaves_nothing(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    wanted = digest_of(b"right")
    with pytest.raises(BadRequest, match="digest mismatch"), store.writing(wanted) as writer:
        writer.write(b"wrong")
    assert list(store.directory.iterdir()) == []


def test_a_writer_that_fails_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    with pytest.raises(KeyError), store.writing(digest_of(b"x")) as writer:
        writer.write(b"x")
        raise KeyError
    assert list(store.directory.iterdir()) == []


def test_an_altered_small_blob_is_not_read(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    digest = store.put(b"system text")
    store.path(digest).write_bytes(b"systen text")
    assert store.read(digest, limit_bytes=100) is None


def test_many_threads_may_put_the_same_blob(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    data = os.urandom(100_000)
    threads = [threading.Thread(target=store.put, args=(data,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [p.name for p in store.directory.iterdir()] == ["sha256-" + digest_of(data)[7:]]
    assert hash_file(store.path(digest_of(data))) == digest_of(data)


def age(path: Path, seconds: float) -> None:
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def test_a_sweep_takes_old_blobs_nobody_needs_and_broken_writes(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    needed, old, young = store.put(b"needed"), store.put(b"old"), store.put(b"young")
    broken = store.directory / "tmp-1-abc"
    broken.write_bytes(b"half")
    partial = store.partial_path(digest_of(b"on its way"))
    partial.write_bytes(b"half")
    stranger = store.directory / "notes.txt"
    stranger.write_text("mine")
    for path in (store.path(needed), store.path(old), broken, partial, stranger):
        age(path, 7200)
    assert store.sweep({needed}) == 2
    left = {path.name for path in store.directory.iterdir()}
    kept = {store.path(needed).name, store.path(young).name, partial.name, "notes.txt"}
    assert left == kept
    age(partial, 30 * 24 * 3600)
    assert store.sweep({needed, young}) == 1
    assert not partial.exists()


def test_a_sweep_takes_what_a_killed_export_left_of_a_folder_but_none_in_use(tmp_path) -> None:
    store = BlobStore(tmp_path)
    store.prepare()
    left, used, stranger = (store.scratch_path(), store.scratch_path(), store.directory / "mine")
    for folder in (left, used, stranger):
        (folder / "plain").mkdir(parents=True)
        (folder / "plain" / "weights").write_bytes(b"1234")
        for path in (folder / "plain" / "weights", folder / "plain", folder):
            age(path, 7200)
    (used / "plain" / "more").write_bytes(b"5")
    assert store.unneeded(set())[left.name] >= 4
    assert store.sweep(set()) == 1
    assert sorted(path.name for path in store.directory.iterdir()) == sorted(["mine", used.name])


def test_a_sweep_takes_what_no_download_can_go_on_with(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    here, on_its_way = store.put(b"here"), digest_of(b"on its way")
    partial = store.partial_path(on_its_way).name
    # Ours, ours of before, and Ollama's.
    records = [store.directory / f"{partial}{end}" for end in (".parts", "-parts", "-0", "-15")]
    useful = [store.partial_path(on_its_way), *records]
    useless = [store.partial_path(here), store.lock_path(here), store.lock_path(digest_of(b"x"))]
    useless += [store.directory / f"{store.partial_path(here).name}{e}" for e in (".parts", "-0")]
    for path in (*useful, *useless):
        path.write_bytes(b"half")
        age(path, 7200)
    assert store.sweep({here}) == len(useless)
    assert {p.name for p in store.directory.iterdir()} == {
        store.path(here).name,
        *(path.name for path in useful),
    }


def test_small_bytes_that_were_damaged_are_stored_again(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    digest = store.put(b"right")
    store.path(digest).write_bytes(b"wrong")
    assert store.put(b"right") == digest
    assert store.read(digest, limit_bytes=100) == b"right"


def test_a_file_the_disk_could_not_settle_is_not_kept_for_another_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = BlobStore(tmp_path)
    store.prepare()
    digest = digest_of(b"whole")
    partial = store.partial_path(digest)
    partial.write_bytes(b"whole")

    def fail(file: int) -> None:
        raise OSError(errno.EIO, "failed")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(InternalError, match="the disk of the model store failed"):
        store.adopt(partial, digest)
    assert list(store.directory.iterdir()) == []


def test_a_file_that_took_long_is_a_young_blob(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    store.prepare()
    partial = store.partial_path(digest_of(b"whole"))
    partial.write_bytes(b"whole")
    age(partial, 7200)
    store.adopt(partial, digest_of(b"whole"))
    assert store.sweep(set()) == 0
    assert store.age_seconds(digest_of(b"whole")) < 60


def test_a_failing_disk_says_nothing_of_a_blob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = BlobStore(tmp_path)
    digest = store.put(b"right")

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "failed")

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(InternalError, match="the disk of the model store failed"):
        store.read(digest, limit_bytes=100)


def test_a_sweep_without_a_store_is_no_error(tmp_path: Path) -> None:
    assert BlobStore(tmp_path / "none").sweep(set()) == 0
