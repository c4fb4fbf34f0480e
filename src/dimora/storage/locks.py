"""Locks between processes: one holder of a file at a time, freed when its process ends."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from dimora.core.errors import Conflict

if sys.platform == "win32":
    import msvcrt

    def _grab(file: int) -> None:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _grab(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FileLock:
    """A lock that lives in the file at `path`; not for use by two threads at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def try_acquire(self) -> bool:
        """Take the lock if it is free. Raises OSError when the file cannot be made."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            _grab(file)
        except OSError:
            os.close(file)
            return False
        if not self._is_current(file):
            # The last holder removed the file between our opening and our locking of it.
            os.close(file)
            return False
        self._file = file
        return True

    @property
    def descriptor(self) -> int:
        """The open file, -1 while the lock is not held. A program that inherits it shares the lock:
        it is free when both have ended."""
        return -1 if self._file is None else self._file

    def release(self, *, remove: bool = False) -> None:
        """Give the lock back; `remove` takes the file away as well."""
        if self._file is None:
            return
        if remove:
            with contextlib.suppress(OSError):
                self._path.unlink()
        os.close(self._file)
        self._file = None

    def _is_current(self, file: int) -> bool:
        try:
            there, mine = self._path.stat(), os.fstat(file)
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


@contextlib.contextmanager
def held(path: Path, *, what: str, timeout_seconds: float = 30.0) -> Iterator[None]:
    """Hold the lock at `path` for a short piece of work, waiting for it if need be.

    Raises Conflict when another process keeps it longer than `timeout_seconds`.
    """
    lock = FileLock(path)
    deadline = time.monotonic() + timeout_seconds
    while not lock.try_acquire():
        if time.monotonic() > deadline:
            raise Conflict(
                f"{what} is being changed by another process", hint="try again in a moment"
            )
        time.sleep(0.01)
    try:
        yield
    finally:
        lock.release()
