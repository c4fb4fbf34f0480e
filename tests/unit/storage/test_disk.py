"""Trouble of the disk becomes an error people can act on."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from dimora.core.errors import ConfigurationError, StorageFull
from dimora.storage.disk import (
    disk_errors,
    make_private_directory,
    require_room,
    settle_directory,
    sweep_temporaries,
    temporary_for,
    write_whole,
)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_storage_full_and_names_no_path(number: int) -> None:
    with pytest.raises(StorageFull) as caught, disk_errors("the model store"):
        raise OSError(number, "no", "/home/me/secret")
    assert "secret" not in caught.value.text and "the model store" in caught.value.message


def test_a_forbidden_disk_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="cannot be written"), disk_errors("the store"):
        raise PermissionError(errno.EACCES, "no", "/x")


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(FileNotFoundError), disk_errors("the store"):
        raise FileNotFoundError(errno.ENOENT, "gone")


def test_too_little_room_is_said_before_anything_is_written(tmp_path: Path) -> None:
    require_room(tmp_path, 1, "it")
    with pytest.raises(StorageFull, match="needs"):
        require_room(tmp_path, 1 << 60, "it")


def test_new_directories_are_private_and_old_ones_stay_as_they_are(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir(mode=0o755)
    old.chmod(0o755)
    make_private_directory(old / "a" / "b")
    if os.name != "nt":
        assert old.stat().st_mode & 0o777 == 0o755
        assert (old / "a").stat().st_mode & 0o777 == 0o700
        assert (old / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    def refuse(file: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_new_directory_is_settled_in_the_one_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled = []
    monkeypatch.setattr("dimora.storage.disk.settle_directory", settled.append)
    make_private_directory(tmp_path / "a" / "b")
    assert settled == [tmp_path, tmp_path / "a"]


def test_a_system_that_cannot_settle_directories_need_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: int) -> None:
        raise OSError(errno.EINVAL, "no")

    monkeypatch.setattr(os, "fsync", refuse)
    settle_directory(tmp_path)


def test_old_unfinished_files_are_swept_and_nothing_else(tmp_path: Path) -> None:
    unfinished, other = temporary_for(tmp_path / "file"), tmp_path / ".hidden"
    for path in (unfinished, other):
        path.write_bytes(b"half")
    assert sweep_temporaries(tmp_path, grace_seconds=3600) == 0
    assert sweep_temporaries(tmp_path, grace_seconds=0) == 1
    assert list(tmp_path.iterdir()) == [other]
    assert sweep_temporaries(tmp_path / "none", grace_seconds=0) == 0
