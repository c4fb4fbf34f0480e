"""Reads the header of a GGUF file: metadata and the table of tensors, never the weights.

The file may be hostile, so every length is checked against what is left of the file before it is
believed, and everything wrong ends in InvalidModel that names it. Source: the GGUF specification.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

from dimora.core.errors import InvalidModel
from dimora.models.gguf_types import TENSOR_TYPES

MAGIC = b"GGUF"
VERSIONS = (2, 3)
# Arrays longer than this are passed over; strings in them can still be had by their index.
SHORT_ARRAY = 5
HEADER_LIMIT_BYTES = 128 << 20
TEXT_LIMIT_BYTES = 8 << 20
KEY_LIMIT_BYTES = 65535
STRINGS_LIMIT = 1 << 22
KEYS_LIMIT = 1 << 16
TENSORS_LIMIT = 1 << 17
NESTING_LIMIT = 4
DIMENSIONS_LIMIT = 4
ALIGNMENT_LIMIT = 1 << 20

_FIRST_READ_BYTES = 1 << 20
_MARK_EVERY = 2048
_STRING, _ARRAY = 8, 9
_SCALARS: dict[int, struct.Struct] = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


class Tensor(NamedTuple):
    """One row of the table; `shape` as in the file, fastest dimension first."""

    name: str
    type: str
    shape: tuple[int, ...]
    offset: int
    size_bytes: int

    @property
    def elements(self) -> int:
        count = 1
        for length in self.shape:
            count *= length
        return count


class StringArray(NamedTuple):
    """Where a long array of strings lies: the place of every _MARK_EVERY-th string."""

    length: int
    marks: tuple[int, ...]
    end: int


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """All a header says. `metadata` has arrays longer than SHORT_ARRAY as empty lists;
    `lengths` holds the true length of every array. `texts` finds strings in long arrays."""

    version: int
    metadata: dict[str, Any]
    lengths: dict[str, int]
    tensors: tuple[Tensor, ...]
    texts: Texts
    file_bytes: int

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture", ""))


class Texts:
    """Strings of the long arrays of a header, taken from its bytes when asked for."""

    def __init__(self, data: bytes, arrays: dict[str, StringArray]) -> None:
        self._data = data
        self._arrays = arrays

    def at(self, key: str, index: int) -> str:
        """The string at `index` of the array `key`, empty where there is none."""
        array = self._arrays.get(key)
        if array is None or not 0 <= index < array.length:
            return ""
        place = array.marks[index // _MARK_EVERY]
        for _ in range(index % _MARK_EVERY):
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
        while place >= 0:
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


def read_header(path: Path) -> Header:
    """The header of the file at `path`. Raises InvalidModel, or OSError when it cannot be read."""
    with path.open("rb") as file:
        file.seek(0, 2)
        size = file.tell()
        file.seek(0)
        return _Reader(file, size).read()


class _Reader:
    """Walks through a header once, holding in memory what it has walked over."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._data = bytearray()
        self._at = 0
        self._arrays: dict[str, StringArray] = {}
        self._lengths: dict[str, int] = {}

    def read(self) -> Header:
        version = self._version()
        tensor_count = self._count("tensors", 24, TENSORS_LIMIT)
        key_count = self._count("keys of metadata", 13, KEYS_LIMIT)
        metadata: dict[str, Any] = {}
        for _ in range(key_count):
            key = self._name("a key of the metadata", KEY_LIMIT_BYTES)
            if key in metadata:
                raise InvalidModel(f"GGUF: metadata {key[:80]!r} is there twice")
            metadata[key] = self._value(key)
        tensors = self._tensors(tensor_count, self._alignment(metadata))
        return Header(
            version=version,
            metadata=metadata,
            lengths=self._lengths,
            tensors=tensors,
            texts=Texts(bytes(memoryview(self._data)[: self._at]), self._arrays),
            file_bytes=self._size,
        )

    def _version(self) -> int:
        if self._size < len(MAGIC) or self._bytes(4, "magic") != MAGIC:
            raise InvalidModel("not a GGUF file", hint="only GGUF model files can be used")
        version = self._u32("version")
        if version in VERSIONS:
            return version
        if int.from_bytes(version.to_bytes(4, "little"), "big") in VERSIONS:
            raise InvalidModel("GGUF: the file is for big-endian machines")
        raise InvalidModel(f"GGUF: version {version} is not one of 2 and 3")

    def _count(self, what: str, least_bytes: int, limit: int) -> int:
        """A count of things that take at least `least_bytes` each."""
        count = self._u64(f"the number of {what}")
        if limit < count <= (self._size - self._at) // least_bytes:
            raise InvalidModel(f"GGUF: {count} {what} are more than any model has")
        if count * least_bytes > self._size - self._at:
            raise InvalidModel(f"GGUF: {count} {what} do not fit into a file of {self._size} bytes")
        return count

    def _alignment(self, metadata: dict[str, Any]) -> int:
        alignment = metadata.get("general.alignment", 32)
        right = isinstance(alignment, int) and 0 < alignment <= ALIGNMENT_LIMIT
        if not right or alignment & (alignment - 1):
            raise InvalidModel(f"GGUF: alignment {alignment!r} is not a power of two")
        return int(alignment)

    def _tensors(self, count: int, alignment: int) -> tuple[Tensor, ...]:
        rows = [self._tensor() for _ in range(count)]
        start = (self._at + alignment - 1) // alignment * alignment
        seen: set[str] = set()
        end_before = 0
        for row in sorted(rows, key=lambda row: row.offset):
            if row.name in seen:
                raise InvalidModel(f"GGUF: tensor {row.name[:80]!r} is there twice")
            seen.add(row.name)
            if row.offset % alignment:
                raise InvalidModel(f"GGUF: tensor {row.name[:80]!r} is not aligned to {alignment}")
            if row.offset < end_before:
                raise InvalidModel(f"GGUF: tensor {row.name[:80]!r} lies over another one")
            end_before = row.offset + row.size_bytes
            if start + end_before > self._size:
                raise InvalidModel(
                    f"GGUF: tensor {row.name[:80]!r} ends at byte {start + end_before}, "
                    f"but the file has {self._size}: it is truncated"
                )
        return tuple(rows)

    def _tensor(self) -> Tensor:
        name = self._name("a tensor's name", KEY_LIMIT_BYTES)
        dimensions = self._u32("dimensions")
        if dimensions > DIMENSIONS_LIMIT:
            raise InvalidModel(f"GGUF: tensor {name[:80]!r} has {dimensions} dimensions")
        shape = tuple(self._u64("a dimension") for _ in range(dimensions))
        number = self._u32("a tensor's type")
        offset = self._u64("a tensor's place")
        if number not in TENSOR_TYPES:
            raise InvalidModel(f"GGUF: tensor {name[:80]!r} has the unknown type {number}")
        kind, block, block_bytes = TENSOR_TYPES[number]
        elements = 1
        for length in shape:
            elements *= length
        if elements % block or (shape and shape[0] % block):
            raise InvalidModel(f"GGUF: tensor {name[:80]!r} is no whole number of {kind} blocks")
        return Tensor(name, kind, shape, offset, elements // block * block_bytes)

    def _value(self, key: str) -> Any:
        kind = self._u32(f"the type of {key[:80]!r}")
        if kind == _ARRAY:
            return self._array(key, 1)
        if kind == _STRING:
            return self._text(key)
        return self._scalar(kind, key)

    def _scalar(self, kind: int, key: str) -> Any:
        form = _SCALARS.get(kind)
        if form is None:
            raise InvalidModel(f"GGUF: metadata {key[:80]!r} has the unknown type {kind}")
        return form.unpack(self._bytes(form.size, key))[0]

    def _text(self, key: str) -> str:
        length = self._u64(f"the length of {key[:80]!r}")
        if length > TEXT_LIMIT_BYTES and length <= self._size - self._at:
            raise InvalidModel(f"GGUF: metadata {key[:80]!r} is a text of {length} bytes")
        return self._bytes(length, key).decode("utf-8", "replace")

    def _array(self, key: str, depth: int) -> list[Any]:
        kind, count = self._u32(f"the type of {key[:80]!r}"), self._u64(f"the length of {key!r}")
        if depth == 1:
            self._lengths[key] = count
        if kind == _ARRAY:
            return self._nested(key, count, depth)
        if kind == _STRING:
            if count > SHORT_ARRAY:
                self._pass_strings(key, count)
                return []
            return [self._text(key) for _ in range(count)]
        form = _SCALARS.get(kind)
        if form is None:
            raise InvalidModel(f"GGUF: metadata {key[:80]!r} has the unknown type {kind}")
        if count > SHORT_ARRAY:
            self._pass(count * form.size, key)
            return []
        return [self._scalar(kind, key) for _ in range(count)]

    def _nested(self, key: str, count: int, depth: int) -> list[Any]:
        if depth >= NESTING_LIMIT:
            raise InvalidModel(f"GGUF: metadata {key[:80]!r} is nested too deeply")
        if count * 12 > self._size - self._at or count > STRINGS_LIMIT:
            raise InvalidModel(f"GGUF: metadata {key[:80]!r} has {count} entries, too many")
        if count <= SHORT_ARRAY:
            return [self._array(key, depth + 1) for _ in range(count)]
        for _ in range(count):
            self._array(key, depth + 1)
        return []

    def _pass_strings(self, key: str, count: int) -> None:
        """Walk over `count` strings, marking the place of some."""
        if count > STRINGS_LIMIT or count * 8 > self._size - self._at:
            raise InvalidModel(f"GGUF: metadata {key[:80]!r} has {count} texts, too many")
        marks: list[int] = []
        unpack = _U64.unpack_from
        left = count
        while left:
            marks.append(self._at)
            batch = min(left, _MARK_EVERY)
            at = self._at
            for _ in range(batch):
                if at + 8 > len(self._data):
                    self._need(at - self._at + 8, key)
                at += 8 + unpack(self._data, at)[0]
            self._pass(at - self._at, key)
            left -= batch
        self._arrays[key] = StringArray(count, tuple(marks), self._at)

    def _name(self, what: str, limit_bytes: int) -> str:
        length = self._u64(f"the length of {what}")
        if length > limit_bytes:
            raise InvalidModel(f"GGUF: {what} of {length} bytes is too long")
        try:
            return self._bytes(length, what).decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidModel(f"GGUF: {what} is not UTF-8") from None

    def _u32(self, what: str) -> int:
        return int(_U32.unpack(self._bytes(4, what))[0])

    def _u64(self, what: str) -> int:
        return int(_U64.unpack(self._bytes(8, what))[0])

    def _bytes(self, count: int, what: str) -> bytes:
        self._need(count, what)
        self._at += count
        return bytes(self._data[self._at - count : self._at])

    def _pass(self, count: int, what: str) -> None:
        self._need(count, what)
        self._at += count

    def _need(self, count: int, what: str) -> None:
        """Have `count` bytes from here in memory, and say what is wrong if that cannot be."""
        end = self._at + count
        if end <= len(self._data):
            return
        if end > self._size:
            raise InvalidModel(
                f"GGUF: the file ends inside {what[:120]}: it is truncated or damaged"
            )
        if end > HEADER_LIMIT_BYTES:
            raise InvalidModel(f"GGUF: the header is larger than {HEADER_LIMIT_BYTES} bytes")
        wanted = max(end, 2 * len(self._data), _FIRST_READ_BYTES)
        self._data += self._file.read(min(wanted, self._size) - len(self._data))
        if end > len(self._data):
            raise InvalidModel(f"GGUF: the file became shorter while {what[:120]} was read")
