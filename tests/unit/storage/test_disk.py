"""Trouble of the disk becomes an error people can act on."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from dimora.core.errors import ConfigurationError, StorageFull
from dimora.storage.disk import disk_errors, make_private_directory, require_room, write_whole


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
