"""One holder of a lock at a time, and a dead holder holds nothing."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dimora.core.errors import ConfigurationError, Conflict
from dimora.storage.locks import FileLock, held


def test_a_second_holder_has_to_wait_for_the_first(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert first.try_acquire()
    assert not second.try_acquire()
    first.release()
    assert second.try_acquire()
    second.release(remove=True)
    assert not (tmp_path / "lock").exists()


def test_a_lock_whose_file_was_removed_can_be_taken_anew(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert first.try_acquire()
    first.release(remove=True)
    assert second.try_acquire()
    assert not first.try_acquire()
    second.release()


def test_waiting_for_a_lock_ends_in_a_conflict(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    assert lock.try_acquire()
    with pytest.raises(Conflict), held(tmp_path / "lock", what="it", timeout_seconds=0.0):
        pytest.fail("the lock was given twice")
    lock.release()
    with held(tmp_path / "lock", what="it", timeout_seconds=0.0):
        assert not lock.try_acquire()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from dimora.storage.locks import FileLock\n"
        "lock = FileLock(Path(sys.argv[1])); assert lock.try_acquire()\n"
        "print('held', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "lock")], stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    lock = FileLock(tmp_path / "lock")
    assert not lock.try_acquire()
    process.kill()
    process.wait()
    process.stdout.close()
    assert lock.try_acquire()
    lock.release()


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are shared on POSIX only")
def test_a_program_that_inherits_the_lock_holds_it_as_long_as_it_lives(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    assert lock.descriptor == -1
    assert lock.try_acquire()
    program = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=(lock.descriptor,)
    )
    lock.release()
    other = FileLock(tmp_path / "lock")
    assert not other.try_acquire()
    program.kill()
    program.wait()
    assert other.try_acquire()
    other.release()


@pytest.mark.skipif(sys.platform == "win32", reason="other words there")
def test_a_lock_that_cannot_be_taken_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    number = errno.EIO

    def fail(file: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match="put"):
        FileLock(tmp_path / "lock").try_acquire()
    number = errno.ENOLCK
    with pytest.raises(ConfigurationError, match="cannot be locked"):
        FileLock(tmp_path / "lock").try_acquire()
