"""Locks between processes: one holder of a file at a time, freed when its process ends."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from dimora.core.errors import ConfigurationError, Conflict

if sys.platform == "win32":
    import msvcrt

    _TAKEN = frozenset({errno.EACCES, errno.EDEADLK})

    def _grab(file: int) -> None:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    _TAKEN = frozenset({errno.EAGAIN, errno.EWOULDBLOCK})

    def _grab(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


# Some network file systems have no locks.
_UNKNOWN = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})


class FileLock:
    """A lock that lives in the file at `path`; not for use by two threads at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def try_acquire(self) -> bool:
        """Take the lock if it is free.

        Raises OSError when the file cannot be made or locked, ConfigurationError where files cannot
        be locked at all: to wait would be to wait for ever.
        """
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            _grab(file)
        except OSError as why:
            _let_go(file)
            if why.errno in _TAKEN:
                return False
            if why.errno in _UNKNOWN:
                raise ConfigurationError(
                    f"files on that disk cannot be locked: {why.strerror}",
                    hint="keep the home and the models on another disk, such as a local one",
                ) from None
            raise
        try:
            current = self._is_current(file)
        except OSError:
            _let_go(file)
            raise
        if not current:
            # The last holder removed the file between our opening and our locking of it.
            _let_go(file)
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
        file, self._file = self._file, None
        _let_go(file)

    def _is_current(self, file: int) -> bool:
        try:
            there, mine = self._path.stat(), os.fstat(file)
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


def _let_go(file: int) -> None:
    """Close a file nothing was written to; it is free even when the disk says otherwise."""
    with contextlib.suppress(OSError):
        os.close(file)


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
