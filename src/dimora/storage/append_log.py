"""A log that only grows: one line per record, shared by any number of processes.

It may have a reserve beside it: room on the disk for records that have to be written although the
disk is full.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

from dimora.storage.disk import make_private_directory, open_private, settle_file

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
_FULL = (errno.ENOSPC, errno.EDQUOT)
# What a full disk gets back at a time: room for many records, and the rest stays out of the reach
# of whatever else fills the disk.
_PIECE_BYTES = 16 << 10


class AppendLog:
    """Lines at `path`, readable by the owner only. Threads may share one object.

    Every record goes out in one write to a file opened for appending, so lines of several
    processes do not mix. When the file was rotated away, the next record begins a new one.
    With `reserve_bytes` a file of that size stands beside the log, for all processes together.
    OSError is the caller's to handle.
    """

    def __init__(self, path: Path, *, reserve_bytes: int = 0) -> None:
        self._path = path
        self._reserve = path.with_suffix(".reserve")
        self._reserve_bytes = reserve_bytes
        self._lock = threading.Lock()
        self._file: int | None = None

    def open(self) -> None:
        """Make sure that a record could be written, and that the reserve is whole. Raises
        OSError."""
        with self._lock:
            self._current_file()
            if self._reserve_left() < self._reserve_bytes:
                self._fill_reserve()

    def append(self, record: bytes) -> None:
        """Write one record and its line end, on a full disk with what the reserve gives. There its
        beginning may stand on a line before it, where only that had room.

        Raises OSError, also when the disk took only a part; ValueError when the record is more
        than one line.
        """
        if b"\n" in record:
            raise ValueError("a record is one line")
        with self._lock:
            while True:
                try:
                    self._write(record + b"\n")
                    return
                except OSError as why:
                    if why.errno not in _FULL or not self._give_way():
                        raise

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

    def _write(self, line: bytes) -> None:
        file = self._current_file()
        if _is_cut(file):
            line = b"\n" + line
        if os.write(file, line) != len(line):
            raise OSError(errno.ENOSPC, "only a part of the record could be written")

    def _fill_reserve(self) -> None:
        """In its place: one that a kill left half written is short, and filled the next time."""
        try:
            with open(self._reserve, "wb", opener=open_private) as file:
                # Chance bytes: what compresses well would hold less room than it seems to.
                file.write(os.urandom(self._reserve_bytes))
                file.flush()
                settle_file(file.fileno())
        except OSError:
            self._reserve.unlink(missing_ok=True)
            raise

    def _reserve_left(self) -> int:
        try:
            return self._reserve.stat().st_size
        except FileNotFoundError:
            return 0

    def _give_way(self) -> bool:
        """Give a piece of the reserve back to the disk; False when there is none."""
        left = self._reserve_left() if self._reserve_bytes else 0
        if left:
            # Another process may do the same at once; whole it is only when it is made anew.
            os.truncate(self._reserve, max(0, left - _PIECE_BYTES))
        return left > 0


def _is_cut(file: int) -> bool:
    """Whether the last line has no end, because the disk was full or the power went; whoever wrote
    it may be gone."""
    for _ in range(3):
        size = os.fstat(file).st_size
        if not size:
            return False
        os.lseek(file, size - 1, os.SEEK_SET)
        if os.read(file, 1) in (b"\n", b""):
            return False
        # Another process may be in the middle of it, for less than this.
        time.sleep(0.001)
    return True
