"""What is remembered is only believed of the very same file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dimora.models.remembered import Remembered, Told, stamp_of
from dimora.tasks.base import ModelDetails

DIGEST = "sha256:" + "a" * 64
TOLD = Told(details=ModelDetails(family="llama"), capabilities=("completion",))


def test_a_verified_file_is_known_until_it_is_touched(tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(b"abc")
    remembered = Remembered(tmp_path / "cache")
    assert not remembered.is_verified(DIGEST, blob)
    remembered.note_verified(DIGEST, blob)
    for each in (remembered, Remembered(tmp_path / "cache")):
        assert each.is_verified(DIGEST, blob)
        assert not each.is_verified("sha256:" + "b" * 64, blob)
    os.utime(blob, (1, 1))
    assert not remembered.is_verified(DIGEST, blob)


def test_two_processes_add_to_each_others_memory(tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(b"abc")
    first, second = Remembered(tmp_path), Remembered(tmp_path)
    assert first.told_of(DIGEST) is None and second.told_of(DIGEST) is None
    first.note_told(DIGEST, TOLD)
    second.note_verified(DIGEST, blob)
    third = Remembered(tmp_path)
    assert third.told_of(DIGEST) == TOLD
    assert third.is_verified(DIGEST, blob)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"version": 2}', b'{"verified": 3}', b"\xff"])
def test_a_damaged_memory_is_an_empty_one(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "models.json").write_bytes(data)
    remembered = Remembered(tmp_path)
    assert remembered.told_of(DIGEST) is None
    remembered.note_told(DIGEST, TOLD)
    assert Remembered(tmp_path).told_of(DIGEST) == TOLD


def test_a_memory_that_cannot_be_written_still_serves(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    for remembered in (Remembered(tmp_path / "file" / "cache"), Remembered(None)):
        remembered.note_told(DIGEST, TOLD)
        assert remembered.told_of(DIGEST) == TOLD


def test_what_another_process_found_damaged_is_not_trusted_again(tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(b"abc")
    first, second = Remembered(tmp_path), Remembered(tmp_path)
    first.note_verified(DIGEST, blob)
    assert second.is_verified(DIGEST, blob)
    first.forget_verified(DIGEST)
    second.note_told(DIGEST, TOLD)
    for each in (first, second, Remembered(tmp_path)):
        assert not each.is_verified(DIGEST, blob)
    second.note_verified(DIGEST, blob)
    assert Remembered(tmp_path).is_verified(DIGEST, blob), "who looked again may trust it"


def test_a_blob_that_changed_while_it_was_read_is_not_known(tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(b"abc")
    before = stamp_of(blob)
    blob.write_bytes(b"abcd")
    remembered = Remembered(tmp_path)
    remembered.note_verified(DIGEST, blob, before)
    assert not remembered.is_verified(DIGEST, blob)
