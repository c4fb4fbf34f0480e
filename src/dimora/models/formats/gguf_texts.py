"""Finds strings in the long arrays of a GGUF header without making a list of all of them."""

from __future__ import annotations

import struct
from bisect import bisect_right
from mmap import mmap
from typing import NamedTuple

# Every so many strings the place of one is noted while an array is walked over.
MARK_EVERY = 2048
# A real vocabulary has none of these; one made to waste time is given up on.
_FALSE_HITS_LIMIT = 16
_U64 = struct.Struct("<Q")


class StringArray(NamedTuple):
    """Where a long array of strings lies: the place of every MARK_EVERY-th string."""

    length: int
    marks: tuple[int, ...]
    end: int


class Texts:
    """Strings of the long arrays of a header, taken from its bytes when asked for."""

    def __init__(self, data: mmap, arrays: dict[str, StringArray]) -> None:
        self._data = data
        self._arrays = arrays

    def at(self, key: str, index: int) -> str:
        """The string at `index` of the array `key`, empty where there is none."""
        array = self._arrays.get(key)
        if array is None or not 0 <= index < array.length:
            return ""
        place = array.marks[index // MARK_EVERY]
        for _ in range(index % MARK_EVERY):
            place += 8 + _U64.unpack_from(self._data, place)[0]
        (length,) = _U64.unpack_from(self._data, place)
        return self._data[place + 8 : place + 8 + length].decode("utf-8", "replace")

    def has(self, key: str, text: str) -> bool:
        """Whether the array `key` holds `text`."""
        array = self._arrays.get(key)
        if array is None:
            return False
        encoded = text.encode()
        pattern = _U64.pack(len(encoded)) + encoded
        place = self._data.find(pattern, array.marks[0], array.end)
        for _ in range(_FALSE_HITS_LIMIT):
            if place < 0:
                return False
            if self._begins_string(array, place):
                return True
            place = self._data.find(pattern, place + 1, array.end)
        return False

    def _begins_string(self, array: StringArray, place: int) -> bool:
        """Whether a string begins at `place`, and not just bytes that look like one."""
        at = array.marks[bisect_right(array.marks, place) - 1]
        while at < place:
            at += 8 + int(_U64.unpack_from(self._data, at)[0])
        return at == place
