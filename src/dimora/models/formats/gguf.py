"""Reads the header of a GGUF file: metadata and the table of tensors, never the weights.

The file may be hostile, so every length is checked against what is left of the file before it is
believed, and everything wrong ends in InvalidModel that names it. Source: the GGUF specification.
"""

from __future__ import annotations

import math
import struct
from io import BufferedIOBase
from mmap import mmap
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from dimora.core.errors import InvalidModel
from dimora.models.formats.gguf_texts import MARK_EVERY, StringArray, Texts
from dimora.models.formats.gguf_types import TENSOR_TYPES
from dimora.models.formats.soundness import require_sound
from dimora.storage.disk import open_plain

MAGIC = b"GGUF"
VERSIONS = (2, 3)
# Arrays longer than this are passed over; strings in them can still be had by their index.
SHORT_ARRAY = 5
# Of all limits together: whatever is in a header, reading it takes less than 64 MiB and a second.
# The largest vocabularies there are make headers of some 16 MB.
HEADER_LIMIT_BYTES = 40 << 20
TEXTS_LIMIT_BYTES = 2 << 20
KEY_LIMIT_BYTES = 65535
# ggml's own limit, without the zero at the end.
TENSOR_NAME_LIMIT_BYTES = 63
STRINGS_LIMIT = 1 << 21
KEYS_LIMIT = 1 << 14
TENSORS_LIMIT = 1 << 14
NESTED_LIMIT = 1 << 16
NESTING_LIMIT = 4
DIMENSIONS_LIMIT = 4
LARGEST_LENGTH = 2**63 - 1
ALIGNMENT_LIMIT = 1 << 20
# Whole numbers of arrays up to this length are looked at, for their smallest and largest.
RANGE_LIMIT = 4096

_CHUNK_BYTES = 1 << 20
_STRING, _ARRAY, _BOOL = 8, 9, 7
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
_TYPE_NAMES = dict(enumerate("u8 i8 u16 i16 u32 i32 f32 bool string array u64 i64 f64".split()))
_WHOLE = frozenset({0, 1, 2, 3, 4, 5, 10, 11})
# Whole files of other programs that some writers put into a header; nobody here reads them.
_PASSED_OVER = frozenset({"tokenizer.huggingface.json"})
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
        return math.prod(self.shape)


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """All a header says. `metadata` has arrays longer than SHORT_ARRAY as empty lists;
    `lengths` holds the true length of every array, `ranges` the smallest and largest of shorter
    arrays of whole numbers. `types` are `u32`, `string`, or `[f32]` for an array of these.
    `texts` finds strings in long arrays."""

    version: int
    metadata: dict[str, Any]
    types: dict[str, str]
    lengths: dict[str, int]
    ranges: dict[str, tuple[int, int]]
    tensors: tuple[Tensor, ...]
    texts: Texts
    file_bytes: int

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture", ""))


def read_header(path: Path) -> Header:
    """The header of the file at `path`, found sound.

    Raises InvalidModel, or OSError when the file cannot be read.
    """
    with open_plain(path) as file:
        return read_opened(file)


def read_opened(file: BufferedIOBase) -> Header:
    """The same of an opened file, which can be sought."""
    size = file.seek(0, 2)
    file.seek(0)
    header = _Reader(file, size).read()
    require_sound(header)
    return header


class _Reader:
    """Walks through a header once, holding in memory what it has walked over."""

    def __init__(self, file: BufferedIOBase, size: int) -> None:
        self._file = file
        self._size = size
        # Memory that costs nothing before it is filled, and need not be moved to grow.
        self._data = mmap(-1, max(1, min(size, HEADER_LIMIT_BYTES)))
        self._have = 0
        self._at = 0
        self._arrays: dict[str, StringArray] = {}
        self._types: dict[str, str] = {}
        self._lengths: dict[str, int] = {}
        self._ranges: dict[str, tuple[int, int]] = {}
        self._texts_left = TEXTS_LIMIT_BYTES
        self._strings_left = STRINGS_LIMIT
        self._nested_left = NESTED_LIMIT

    def read(self) -> Header:
        version = self._version()
        tensor_count = self._count("tensors", 24, TENSORS_LIMIT)
        key_count = self._count("keys of metadata", 13, KEYS_LIMIT)
        metadata: dict[str, Any] = {}
        for _ in range(key_count):
            key = self._name("a key of the metadata", KEY_LIMIT_BYTES)
            if key in metadata:
                raise InvalidModel(f"GGUF: metadata {key[:80]!r} is there twice")
            self._spend_text(len(key), key)
            metadata[key] = self._value(key)
        tensors = self._tensors(tensor_count, self._alignment(metadata))
        return Header(
            version=version,
            metadata=metadata,
            types=self._types,
            lengths=self._lengths,
            ranges=self._ranges,
            tensors=tensors,
            texts=Texts(self._data, self._arrays),
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
        # An engine may stop at once when the type is another one.
        if self._types.get("general.alignment", "u32") != "u32":
            raise InvalidModel("GGUF: the alignment is not a number of the right type")
        if not 8 <= alignment <= ALIGNMENT_LIMIT or alignment & (alignment - 1):
            raise InvalidModel(f"GGUF: alignment {alignment} is not a power of two from 8 on")
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
        name = self._name("a tensor's name", TENSOR_NAME_LIMIT_BYTES)
        dimensions = self._u32("dimensions")
        if dimensions > DIMENSIONS_LIMIT:
            raise InvalidModel(f"GGUF: tensor {name[:80]!r} has {dimensions} dimensions")
        shape = tuple(self._u64("a dimension") for _ in range(dimensions))
        if not all(0 < length <= LARGEST_LENGTH for length in shape):
            raise InvalidModel(f"GGUF: tensor {name[:80]!r} has an impossible shape {shape}")
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
        self._types[key] = _TYPE_NAMES.get(kind, "")
        if kind == _ARRAY:
            return self._array(key, 1)
        if kind == _STRING:
            return self._text(key)
        return self._scalar(kind, key)

    def _scalar(self, kind: int, key: str) -> Any:
        data = self._bytes(self._form(kind, key).size, key)
        if kind == _BOOL and data > b"\1":
            raise InvalidModel(f"GGUF: metadata {key[:80]!r} is neither true nor false")
        return _SCALARS[kind].unpack(data)[0]

    def _form(self, kind: int, key: str) -> struct.Struct:
        form = _SCALARS.get(kind)
        if form is None:
            raise InvalidModel(f"GGUF: metadata {key[:80]!r} has the unknown type {kind}")
        return form

    def _text(self, key: str) -> str:
        length = self._u64(f"the length of {key[:80]!r}")
        if key in _PASSED_OVER:
            self._pass(length, key)
            return ""
        if length <= self._size - self._at:
            self._spend_text(length, key)
        return self._bytes(length, key).decode("utf-8", "replace")

    def _spend_text(self, length: int, key: str) -> None:
        self._texts_left -= length
        if self._texts_left < 0:
            raise InvalidModel(f"GGUF: with {key[:80]!r} the metadata has too much text")

    def _array(self, key: str, depth: int) -> list[Any]:
        # Thousands of arrays may lie in one whose key is as long as a key can be.
        shown = repr(key[:80])
        kind, count = self._u32(f"the type of {shown}"), self._u64(f"the length of {shown}")
        if depth == 1:
            self._lengths[key] = count
            self._types[key] = f"[{_TYPE_NAMES.get(kind, '')}]"
        if kind == _ARRAY:
            return self._nested(key, count, depth)
        if kind == _STRING:
            if count > SHORT_ARRAY:
                self._pass_strings(key, count)
                return []
            return [self._text(key) for _ in range(count)]
        form = self._form(kind, key)
        if count > SHORT_ARRAY:
            begin = self._at
            self._pass(count * form.size, key)
            self._look_at(key, kind, begin, count)
            return []
        values = [self._scalar(kind, key) for _ in range(count)]
        if values and kind in _WHOLE:
            self._ranges[key] = (min(values), max(values))
        return values

    def _look_at(self, key: str, kind: int, begin: int, count: int) -> None:
        """What can be said of the numbers of a long array that was passed over."""
        if kind == _BOOL:
            for at in range(begin, self._at, _CHUNK_BYTES):
                if self._data[at : min(at + _CHUNK_BYTES, self._at)].strip(b"\0\1"):
                    raise InvalidModel(f"GGUF: metadata {key[:80]!r} is neither true nor false")
        elif kind in _WHOLE and count <= RANGE_LIMIT:
            form = f"<{count}{_SCALARS[kind].format[1]}"
            values = struct.unpack_from(form, self._data, begin)
            self._ranges[key] = (min(values), max(values))

    def _nested(self, key: str, count: int, depth: int) -> list[Any]:
        if depth >= NESTING_LIMIT:
            raise InvalidModel(f"GGUF: metadata {key[:80]!r} is nested too deeply")
        self._nested_left -= count
        if count * 12 > self._size - self._at or self._nested_left < 0:
            raise InvalidModel(f"GGUF: metadata {key[:80]!r} has {count} entries, too many")
        if count <= SHORT_ARRAY:
            return [self._array(key, depth + 1) for _ in range(count)]
        for _ in range(count):
            self._array(key, depth + 1)
        return []

    def _pass_strings(self, key: str, count: int) -> None:
        """Walk over `count` strings, marking the place of some."""
        self._strings_left -= count
        if self._strings_left < 0 or count * 8 > self._size - self._at:
            raise InvalidModel(f"GGUF: metadata {key[:80]!r} has {count} texts, too many")
        marks: list[int] = []
        unpack = _U64.unpack_from
        left = count
        while left:
            marks.append(self._at)
            batch = min(left, MARK_EVERY)
            at = self._at
            for _ in range(batch):
                if at + 8 > self._have:
                    self._need(at - self._at + 8, key)
                at += 8 + unpack(self._data, at)[0]
            self._pass(at - self._at, key)
            left -= batch
        self._arrays[key] = StringArray(count, tuple(marks), self._at)

    def _name(self, what: str, limit_bytes: int) -> str:
        length = self._u64(f"the length of {what}")
        if length > limit_bytes:
            raise InvalidModel(f"GGUF: {what} of {length} bytes is too long")
        data = self._bytes(length, what)
        # C programs read a name up to its first zero, and might find another one than we did.
        if not data or b"\0" in data:
            raise InvalidModel(f"GGUF: {what} is empty or has zeros in it")
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidModel(f"GGUF: {what} is not UTF-8") from None

    def _u32(self, what: str) -> int:
        return int(_U32.unpack(self._bytes(4, what))[0])

    def _u64(self, what: str) -> int:
        return int(_U64.unpack(self._bytes(8, what))[0])

    def _bytes(self, count: int, what: str) -> bytes:
        self._need(count, what)
        self._at += count
        return self._data[self._at - count : self._at]

    def _pass(self, count: int, what: str) -> None:
        self._need(count, what)
        self._at += count

    def _need(self, count: int, what: str) -> None:
        """Have `count` bytes from here in memory, and say what is wrong if that cannot be."""
        end = self._at + count
        if end <= self._have:
            return
        if end > self._size:
            raise InvalidModel(
                f"GGUF: the file ends inside {what[:120]}: it is truncated or damaged"
            )
        if end > HEADER_LIMIT_BYTES:
            raise InvalidModel(f"GGUF: the header is larger than {HEADER_LIMIT_BYTES} bytes")
        with memoryview(self._data) as room:
            while self._have < end:
                got = self._file.readinto(room[self._have : self._have + _CHUNK_BYTES])
                if not got:
                    raise InvalidModel(f"GGUF: the file became shorter while {what[:120]} was read")
                self._have += got
