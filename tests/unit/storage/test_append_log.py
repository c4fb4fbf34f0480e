"""The log only grows, line by line, whoever writes to it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dimora.storage.append_log import AppendLog


def test_every_record_is_one_line_and_the_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "log" / "audit.jsonl"
    log = AppendLog(path)
    log.append(b"one")
    log.append(b"two")
    log.close()
    assert path.read_bytes() == b"one\ntwo\n"
    if os.name != "nt":
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_record_of_two_lines_is_refused(tmp_path: Path) -> None:
    log = AppendLog(tmp_path / "log")
    with pytest.raises(ValueError, match="one line"):
        log.append(b"one\ntwo")
    assert not (tmp_path / "log").exists()


def test_after_rotation_a_new_file_is_begun(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = AppendLog(path)
    log.append(b"before")
    path.rename(tmp_path / "log.1")
    log.append(b"after")
    path.unlink()
    log.append(b"again")
    assert (tmp_path / "log.1").read_bytes() == b"before\n"
    assert path.read_bytes() == b"again\n"
    log.close()


def test_a_log_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(OSError):
        AppendLog(tmp_path / "file" / "log").open()
    log = AppendLog(tmp_path)
    with pytest.raises(OSError):
        log.append(b"x")


def test_a_record_that_did_not_fit_leaves_no_half_line_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    log = AppendLog(path)
    log.open()
    true_write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(
            os, "write", lambda file, data: true_write(file, data[:3] if len(data) > 1 else data)
        )
        with pytest.raises(OSError, match="part"):
            log.append(b"first record")
    log.append(b"second")
    log.close()
    assert path.read_bytes() == b"fir\nsecond\n"


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A disk that has room for as many bytes as the list's only number says."""
    room = [0]
    true_write, true_truncate = os.write, os.truncate

    def write(file: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "full")
        written = true_write(file, data[: room[0]])
        room[0] -= written
        return written

    def truncate(path: Path, size: int) -> None:
        room[0] += path.stat().st_size - size
        true_truncate(path, size)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        patch.setattr(os, "truncate", truncate)
        yield room


@pytest.mark.parametrize("mended_by", ["the same", "another", "a later one"])
def test_a_disk_full_to_the_last_byte_costs_no_later_record(
    tmp_path: Path, full_disk: list[int], mended_by: str
) -> None:
    log, other = AppendLog(tmp_path / "log"), AppendLog(tmp_path / "log")
    other.open()
    full_disk[0] = 3
    for _ in range(2):
        with pytest.raises(OSError):
            log.append(b"first record")
    full_disk[0] = 1000
    later = {"the same": log, "another": other, "a later one": AppendLog(tmp_path / "log")}
    later[mended_by].append(b"second")
    log.append(b"third")
    assert (tmp_path / "log").read_bytes() == b"fir\nsecond\nthird\n"


def test_a_line_that_a_power_cut_left_without_an_end_costs_no_later_record(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\ntw")
    log = AppendLog(path)
    log.append(b"three")
    log.append(b"four")
    log.close()
    assert path.read_bytes() == b"one\ntw\nthree\nfour\n"


def test_a_reserve_is_really_written_private_and_made_anew(tmp_path: Path) -> None:
    log = AppendLog(tmp_path / "audit.jsonl", reserve_bytes=100_000)
    reserve = tmp_path / "audit.reserve"
    for before in (reserve.unlink, lambda: os.truncate(reserve, 99_999), lambda: None):
        log.open()
        state = reserve.stat()
        assert state.st_size == 100_000
        if os.name != "nt":
            assert state.st_mode & 0o777 == 0o600
            assert state.st_blocks * 512 >= 100_000
        before()
    inode = reserve.stat().st_ino
    log.open()
    assert reserve.stat().st_ino == inode
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.jsonl", "audit.reserve"]


def test_a_full_disk_gets_the_reserve_back_piece_by_piece_and_takes_the_records(
    tmp_path: Path, full_disk: list[int]
) -> None:
    path = tmp_path / "audit.jsonl"
    log = AppendLog(path, reserve_bytes=40_000)
    other = AppendLog(path, reserve_bytes=40_000)
    log.open()
    other.open()
    full_disk[0] = 3
    written = [b"%d" % number * 3000 for number in range(4)]
    for number, record in enumerate(written):
        (log, other)[number % 2].append(record)
    assert path.read_bytes().split(b"\n") == [b"000", *written, b""]
    assert 0 < (tmp_path / "audit.reserve").stat().st_size < 40_000
    with pytest.raises(OSError):
        log.append(b"x" * 50_000)
    assert (tmp_path / "audit.reserve").stat().st_size == 0
    full_disk[0] = 1000
    log.append(b"last")
    assert path.read_bytes().endswith(b"\nlast\n")


def test_without_room_for_the_reserve_the_log_is_not_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    log = AppendLog(tmp_path / "log", reserve_bytes=1000)
    with monkeypatch.context() as patch:
        patch.setattr("dimora.storage.append_log.settle_file", full)
        with pytest.raises(OSError, match="full"):
            log.open()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    log.open()


def test_threads_and_processes_never_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    program = (
        "import sys; from pathlib import Path; from dimora.storage.append_log import AppendLog\n"
        "log = AppendLog(Path(sys.argv[1]))\n"
        "for n in range(200): log.append(f'{sys.argv[2]}-{n}-'.encode() + b'x' * 300)\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(path), f"p{n}"]) for n in range(2)
    ]
    log = AppendLog(path)

    def write(name: str) -> None:
        for n in range(200):
            log.append(f"{name}-{n}-".encode() + b"x" * 300)

    threads = [threading.Thread(target=write, args=(f"t{n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait() for process in processes] == [0, 0]
    lines = path.read_bytes().splitlines()
    wanted = {
        f"{name}-{n}-".encode() + b"x" * 300
        for name in ("p0", "p1", "t0", "t1")
        for n in range(200)
    }
    assert len(lines) == 800 and set(lines) == wanted
    log.close()
