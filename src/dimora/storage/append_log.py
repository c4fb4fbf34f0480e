"""A log that only grows: one line per record, shared by any number of processes."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

from dimora.storage.disk import make_private_directory

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)


class AppendLog:
    """Lines at `path`, readable by the owner only. Threads may share one object.

    Every record goes out in one write to a file opened for appending, so lines of several
    processes do not mix. When the file was rotated away, the next record begins a new one.
    OSError is the caller's to handle.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file: int | None = None

    def open(self) -> None:
        """Make sure that a record could be written. Raises OSError."""
        with self._lock:
            self._current_file()

    def append(self, record: bytes) -> None:
        """Write one record and its line end. Raises OSError, also when the disk took only a part.

        Raises ValueError when the record is more than one line.
        """
        if b"\n" in record:
            raise ValueError("a record is one line")
        line = record + b"\n"
        with self._lock:
            file = self._current_file()
            written = os.write(file, line)
            if written != len(line):
                self._end_broken_line(file)
                raise OSError(errno.ENOSPC, "only a part of the record could be written")

    def close(self) -> None:
        """Raises OSError when the disk lost what was written."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        # A descriptor is free even after a close that failed, and must not be closed twice.
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _current_file(self) -> int:
        if self._file is not None and self._is_rotated(self._file):
            self._close()
        if self._file is None:
            make_private_directory(self._path.parent)
            self._file = os.open(self._path, _FLAGS, 0o600)
        return self._file

    def _is_rotated(self, file: int) -> bool:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return True
        mine = os.fstat(file)
        return (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino)

    @staticmethod
    def _end_broken_line(file: int) -> None:
        """The next record shall begin on a line of its own."""
        try:
            os.write(file, b"\n")
        except OSError:
            # The disk is full to the last byte; the caller hears of the record in any case.
            return
