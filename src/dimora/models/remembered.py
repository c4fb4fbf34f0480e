"""Remembers what was found out about files that do not change, so that it is found out once.

One small JSON file that several processes may share; losing it costs time, nothing else.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import TypeVar

import msgspec

from dimora.core.json_text import BAD_JSON
from dimora.storage.disk import make_private_directory, sweep_temporaries, write_whole
from dimora.tasks.base import ModelDetails

_LIMIT_BYTES = 16 << 20
_ENTRIES = 2000
# The stamp of no file.
_NEVER = (0, -1, 0)
_T = TypeVar("_T")
Stamp = tuple[int, int, int]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the header of a model file tells, as far as a list of models needs it."""

    details: ModelDetails
    capabilities: tuple[str, ...]


class _Memory(msgspec.Struct, kw_only=True):
    """`verified`: inode, size, mtime in ns of a blob whose digest was right; `told`: by digest."""

    version: int = 1
    verified: dict[str, Stamp] = {}
    told: dict[str, Told] = {}


class Remembered:
    """Kept in `directory`, or in memory only when that is None. Threads may share one object."""

    def __init__(self, directory: Path | None) -> None:
        self._path = directory / "models.json" if directory is not None else None
        self._lock = threading.Lock()
        self._memory: _Memory | None = None

    def is_verified(self, digest: str, blob: Path) -> bool:
        """Whether this very file was found to have this digest and was not touched since."""
        with self._lock:
            return self._load().verified.get(digest) == stamp_of(blob)

    def note_verified(self, digest: str, blob: Path, stamp: Stamp | None = None) -> None:
        """`stamp` is of before the blob was read: who wrote into it meanwhile is seen by it."""
        with contextlib.suppress(OSError):
            stamp = stamp or stamp_of(blob)
            with self._lock:
                self._load().verified[digest] = stamp
                self._save(digest)

    def forget_verified(self, digest: str) -> None:
        """The blob was found wrong; what was known of it holds no longer, for no process."""
        with self._lock:
            self._load().verified[digest] = _NEVER
            self._save(digest)

    def told_of(self, digest: str) -> Told | None:
        with self._lock:
            return self._load().told.get(digest)

    def note_told(self, digest: str, told: Told) -> None:
        with self._lock:
            memory = self._load()
            if memory.told.get(digest) != told:
                memory.told[digest] = told
                self._save()

    def sweep(self, *, grace_seconds: float) -> int:
        """Remove what broken writes left; gives how many files."""
        if self._path is None:
            return 0
        return sweep_temporaries(self._path.parent, grace_seconds=grace_seconds)

    def _load(self) -> _Memory:
        if self._memory is None:
            self._memory = self._read()
        return self._memory

    def _read(self) -> _Memory:
        if self._path is None:
            return _Memory()
        try:
            with self._path.open("rb") as file:
                memory = msgspec.json.decode(
                    file.read(min(_LIMIT_BYTES, os.fstat(file.fileno()).st_size)), type=_Memory
                )
        except (OSError, *BAD_JSON):
            return _Memory()
        return memory if memory.version == 1 else _Memory()

    def _save(self, looked_at: str = "") -> None:
        """Write it down together with what other processes found; not being able to is no loss.

        What one of them found damaged we trust no longer, unless it is what we just `looked_at`.
        """
        memory = self._load()
        if self._path is None:
            return
        there = self._read()
        damaged = {d: s for d, s in there.verified.items() if s == _NEVER and d != looked_at}
        memory.verified = _newest({**there.verified, **memory.verified, **damaged})
        memory.told = _newest({**there.told, **memory.told})
        with contextlib.suppress(OSError):
            make_private_directory(self._path.parent)
            write_whole(self._path, msgspec.json.encode(memory))


def _newest(entries: dict[str, _T]) -> dict[str, _T]:
    return dict(list(entries.items())[-_ENTRIES:])


def stamp_of(blob: Path) -> Stamp:
    """What changes when somebody writes to this file. Raises OSError."""
    state = blob.stat()
    return (state.st_ino, state.st_size, state.st_mtime_ns)
