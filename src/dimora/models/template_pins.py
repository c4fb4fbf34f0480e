"""Remembers which chat template each model had, and says when a model got another one.

A template decides what a model reads, and may be all that a hostile update changes. So its hash
is kept when a model enters the store, and whoever changes it is told what changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from itertools import takewhile
from pathlib import Path

import msgspec

from dimora.core.errors import DimoraError
from dimora.core.json_text import BAD_JSON
from dimora.storage.disk import make_private_directory, sweep_temporaries, write_whole
from dimora.storage.locks import held

_LIMIT_BYTES = 16 << 20
_SHOWN_LINES = 4
_SHOWN_CHARACTERS = 100


class Templates(msgspec.Struct, frozen=True):
    """The templates of one model: `jinja` is in its file, `go` in its manifest."""

    jinja: str = ""
    go: str = ""

    @property
    def digest(self) -> str:
        """64 hex digits; empty when there is no template."""
        if not self.jinja and not self.go:
            return ""
        return hashlib.sha256(msgspec.json.encode((self.jinja, self.go))).hexdigest()


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """`digest` is of the templates as they are now, `changed_at` seconds since 1970, 0 when they
    are as they were when the model was first seen, at `since`."""

    digest: str
    since: float
    changed_at: float = 0.0


class _Kept(msgspec.Struct, kw_only=True):
    """Pins by the directory of a store, and in it by the name of a model."""

    version: int = 1
    stores: dict[str, dict[str, Pin]] = {}


class TemplatePins:
    """The pins of the store at `root`, kept in the file at `path`, or in memory when that is None.

    Threads and processes may share a file. Not being able to write it is no error: the next that
    can will.
    """

    def __init__(self, path: Path | None, root: Path) -> None:
        self._path = path
        self._root = str(root.absolute())
        self._lock = threading.Lock()
        self._memory = _Kept()

    def note(self, name: str, templates: Templates) -> Pin:
        """What is known of a model that has these templates now; new ones are remembered."""
        with self._lock:
            known = self._read().stores.get(self._root, {}).get(name)
            if known is not None and known.digest == templates.digest:
                return known
            now = time.time()
            pin = Pin(
                digest=templates.digest,
                since=known.since if known else now,
                changed_at=now if known else 0.0,
            )
            self._change(name, pin)
            return pin

    def forget(self, name: str) -> None:
        """The model of this name is gone."""
        with self._lock:
            if name in self._read().stores.get(self._root, {}):
                self._change(name, None)

    def sweep(self, *, grace_seconds: float) -> int:
        """Remove what broken writes left; gives how many files."""
        if self._path is None:
            return 0
        return sweep_temporaries(self._path.parent, grace_seconds=grace_seconds)

    def _change(self, name: str, pin: Pin | None) -> None:
        if self._path is None:
            self._put(self._memory, name, pin)
            return
        with contextlib.suppress(OSError, DimoraError):
            make_private_directory(self._path.parent)
            with held(self._path.with_suffix(".lock"), what="the list of templates"):
                kept = self._read()
                self._put(kept, name, pin)
                write_whole(self._path, msgspec.json.encode(kept))

    def _put(self, kept: _Kept, name: str, pin: Pin | None) -> None:
        pins = kept.stores.setdefault(self._root, {})
        if pin is None:
            pins.pop(name, None)
        else:
            pins[name] = pin

    def _read(self) -> _Kept:
        if self._path is None:
            return self._memory
        try:
            with self._path.open("rb") as file:
                return msgspec.json.decode(file.read(_LIMIT_BYTES), type=_Kept)
        except (OSError, *BAD_JSON):
            return _Kept()


def describe_change(name: str, before: Templates, after: Templates) -> list[str]:
    """Lines that say what changed, the first of them in words; none when nothing did."""
    lines = []
    for kind, old, new in (
        ("chat template", before.jinja, after.jinja),
        ("template", before.go, after.go),
    ):
        if old != new:
            lines += [f"the {kind} of {name} changed", *_difference(old, new)]
    return lines


def _difference(before: str, after: str) -> list[str]:
    """The lines that differ, from the first to the last, cut to what a person reads."""
    # Not difflib: its time grows with the square of what somebody else wrote.
    old, new = before.splitlines(), after.splitlines()
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))
    old, new = old[same:], new[same:]
    ends = zip(reversed(old), reversed(new), strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], ends))
    old, new = old[: len(old) - same], new[: len(new) - same]
    return [*_shown("-", old), *_shown("+", new)]


def _shown(mark: str, lines: list[str]) -> list[str]:
    shown = [f"{mark} {_harmless(line[:_SHOWN_CHARACTERS])}" for line in lines[:_SHOWN_LINES]]
    left = len(lines) - len(shown)
    return [*shown, f"{mark} ... {left} more lines"] if left else shown


def _harmless(line: str) -> str:
    """Without what would move the cursor or turn the text around."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
