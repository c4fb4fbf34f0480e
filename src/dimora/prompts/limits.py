"""What one rendering of a template may use: a second of the processor, some 50 MiB of memory.

Templates come with model files and are programs of strangers. Steps and clock bound the time.
For the memory every text and list a template makes is noted: small ones are counted once and for
all, of large ones only those are counted that something still holds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from dimora.core.errors import BadRequest

# The longest text a template may make or write: more than any model can read.
MAX_TEXT_BYTES = 6 << 20
MAX_SECONDS = 0.7

_MAX_STEPS = 1_000_000
_MAX_COST = 256 << 20
_MAX_SMALL_BYTES = 12 << 20
_MAX_LARGE_BYTES = 12 << 20
_SMALL_BYTES = 512
# So many bytes of large values are noted before it is looked which are still in use.
_SWEEP_BYTES = 4 << 20
_ENTRY_BYTES = 32
_EMPTY_BYTES = sys.getsizeof("")

_T = TypeVar("_T")


class LimitReached(Exception):
    """The template does more than any honest one."""


class TemplateStopped(BadRequest):
    """A rendering that used up its budget: another way to write the messages will not help."""

    code = "template_error"

    def __init__(self) -> None:
        super().__init__(
            "the model's chat template does more than a chat template may",
            hint="send fewer messages, or give the model another template",
        )


def text_bytes(value: Any) -> int:
    """Bytes of memory that the characters of a text take, 0 for everything else."""
    return sys.getsizeof(value) - _EMPTY_BYTES if isinstance(value, str) else 0


class Budget:
    """What one rendering may still spend. `given` is what the template gets to work with, values
    as JSON has them: it was there before, and is not counted."""

    def __init__(self, given: Any = None) -> None:
        self._steps = _MAX_STEPS
        self._cost = _MAX_COST
        self._deadline = time.thread_time() + MAX_SECONDS
        self._given = given
        self._small_left = _MAX_SMALL_BYTES
        self._large: dict[int, Any] = {}
        self._unswept = 0

    def spend(self, cost: int = 1) -> None:
        """One step that handles `cost` bytes. Raises LimitReached."""
        self._steps -= 1
        self._cost -= cost
        if self._steps < 0 or self._cost < 0:
            raise LimitReached
        looks_at_clock = cost > 2**14 or self._steps % 64 == 0
        if looks_at_clock and time.thread_time() > self._deadline:
            raise LimitReached

    def require_text(self, length_bytes: int) -> None:
        """Before a text is made. Raises LimitReached when it would be too long."""
        if length_bytes > MAX_TEXT_BYTES:
            raise LimitReached

    def keep(self, value: _T) -> _T:
        """The value, now noted as made by the template. Raises LimitReached."""
        size = _size_of(value)
        if size < _SMALL_BYTES:
            self._small_left -= size
            if self._small_left < 0:
                raise LimitReached
            return value
        self.require_text(size)
        if id(value) not in self._large:
            self._large[id(value)] = value
            self._unswept += size
            if self._unswept > _SWEEP_BYTES:
                self._sweep()
        return value

    def _sweep(self) -> None:
        """Forget large values that nothing but this budget holds. Raises LimitReached."""
        self._unswept = 0
        # How often a value is referred to that nobody else holds.
        self._large[0] = object()
        counts = [sys.getrefcount(value) for value in self._large.values()]
        nobody = counts[-1]
        del self._large[0]
        given = {id(value) for value in walk(self._given)}
        self._large = {
            key: value
            for (key, value), count in zip(self._large.items(), counts, strict=False)
            if count > nobody and key not in given
        }
        if sum(_size_of(value) for value in self._large.values()) > _MAX_LARGE_BYTES:
            raise LimitReached


def walk(given: Any) -> Iterator[Any]:
    """Every value inside of `given`, and itself."""
    waiting = [given]
    while waiting:
        each = waiting.pop()
        yield each
        if isinstance(each, Mapping):
            waiting.extend(each.keys())
            waiting.extend(each.values())
        elif isinstance(each, list | tuple):
            waiting.extend(each)


def _size_of(value: Any) -> int:
    if isinstance(value, str):
        return sys.getsizeof(value)
    if isinstance(value, list | tuple | Mapping):
        return sys.getsizeof(value) + _ENTRY_BYTES * len(value)
    return _ENTRY_BYTES
