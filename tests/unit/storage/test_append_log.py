"""The log only grows, line by line, whoever writes to it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
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
