"""Reads the header of a safetensors file: names, types, shapes and places, never the weights.

The file may be hostile, so nothing is believed before it is checked, and everything wrong ends in
InvalidModel that names it. Source: the format's description in the safetensors project.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from dimora.core.errors import InvalidModel
from dimora.core.json_text import BAD_JSON
from dimora.storage.disk import open_plain

# The format allows headers of 100 MB; the largest real ones have some 3 MB, and one that is read
# whole must not cost more memory than a reader may.
HEADER_LIMIT_BYTES = 24 << 20
METADATA_LIMIT_BYTES = 2 << 20
TENSORS_LIMIT = 1 << 16
NAME_LIMIT_BYTES = 1 << 12
ENTRY_LIMIT_BYTES = 1 << 10
DIMENSIONS_LIMIT = 8
LARGEST_LENGTH = 2**63 - 1

# Bits of one element.
ELEMENT_BITS: dict[str, int] = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "U16": 16,
    "I16": 16,
    "U32": 32,
    "I32": 32,
    "U64": 64,
    "I64": 64,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F8_E4M3": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2": 8,
    "F8_E5M2FNUZ": 8,
    "F8_E8M0": 8,
    "F16": 16,
    "BF16": 16,
    "F32": 32,
    "F64": 64,
    "C64": 64,
}

_STRING = rb'"(?:[^"\\\x00-\x1f]|\\.)*+"'
_KEY = re.compile(rb"[ \t\r\n]*+(" + _STRING + rb")[ \t\r\n]*+:[ \t\r\n]*+")
_TEXT = re.compile(_STRING)
_ENTRY = re.compile(rb"\{[^{}]*+\}")
_NEXT = re.compile(rb"[ \t\r\n]*+([,}])")
_EMPTY = re.compile(rb"\{[ \t\r\n]*+\}")
_METADATA = "__metadata__"


class Tensor(NamedTuple):
    """One entry; `shape` as in the file, slowest dimension first. Its bytes begin at `begin`
    of the part after the header and are `size_bytes` long."""

    name: str
    type: str
    shape: tuple[int, ...]
    begin: int
    size_bytes: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """All a header says; `data_begin` is where in the file the weights begin."""

    metadata: dict[str, str]
    tensors: tuple[Tensor, ...]
    data_begin: int
    file_bytes: int


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def read_header(path: Path) -> Header:
    """The header of the file at `path`. Raises InvalidModel, or OSError when it cannot be read."""
    with open_plain(path) as file:
        return read_opened(file)


def read_opened(file: BinaryIO) -> Header:
    """The same of an opened file, which can be sought."""
    size = file.seek(0, 2)
    file.seek(0)
    if size < 10:
        raise _wrong(f"a file of {size} bytes is too short")
    length = int.from_bytes(file.read(8), "little")
    if length > size - 8:
        raise _wrong("the header is longer than the file: it is truncated or damaged")
    if length > HEADER_LIMIT_BYTES:
        raise _wrong(f"the header is larger than {HEADER_LIMIT_BYTES} bytes")
    data = file.read(length)
    if len(data) < length:
        raise _wrong("the file became shorter while it was read")
    metadata, tensors = _Walk(data).entries()
    _require_whole_cover(tensors, size - 8 - length)
    return Header(metadata=metadata, tensors=tuple(tensors), data_begin=8 + length, file_bytes=size)


class _Walk:
    """Goes through the header once. An ordinary JSON reader would keep the last of two equal keys,
    and build whatever is in there before anybody could look at it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._metadata: dict[str, str] = {}
        self._tensors: dict[str, Tensor] = {}

    def entries(self) -> tuple[dict[str, str], list[Tensor]]:
        # The format wants the brace first, without any space before it.
        if self._data[:1] != b"{":
            raise _wrong("the header is not a JSON object")
        has_metadata = False
        at, more = self._begin_object(0)
        while more:
            key, at = self._key(at)
            if key == _METADATA:
                if has_metadata:
                    raise _wrong("its metadata is there twice")
                has_metadata = True
                at = self._read_metadata(at)
            else:
                at = self._read_tensor(key, at)
            at, more = self._next(at)
        if self._data[at:].strip(b" \t\r\n"):
            raise _wrong("there is more after the header's last brace")
        return self._metadata, list(self._tensors.values())

    def _begin_object(self, at: int) -> tuple[int, bool]:
        empty = _EMPTY.match(self._data, at)
        return (empty.end(), False) if empty else (at + 1, True)

    def _key(self, at: int) -> tuple[str, int]:
        found = _KEY.match(self._data, at)
        if found is None:
            raise _wrong(f"its JSON is broken at byte {at}")
        if found.end(1) - found.start(1) > NAME_LIMIT_BYTES:
            raise _wrong(f"a name of {found.end(1) - found.start(1)} bytes is too long")
        return _text_of(found[1]), found.end()

    def _next(self, at: int) -> tuple[int, bool]:
        found = _NEXT.match(self._data, at)
        if found is None:
            raise _wrong(f"its JSON is broken at byte {at}")
        return found.end(), found[1] == b","

    def _read_metadata(self, at: int) -> int:
        """Names and texts only. Returns the place after it."""
        begin = at
        if self._data[at : at + 1] != b"{":
            raise _wrong("its metadata is not a JSON object")
        at, more = self._begin_object(at)
        while more:
            key, at = self._key(at)
            found = _TEXT.match(self._data, at)
            if found is None:
                raise _wrong(f"metadata {key[:80]!r} is not a text")
            if found.end() - begin > METADATA_LIMIT_BYTES:
                raise _wrong(f"its metadata is larger than {METADATA_LIMIT_BYTES} bytes")
            if key in self._metadata:
                raise _wrong(f"metadata {key[:80]!r} is there twice")
            self._metadata[key] = _text_of(found[0])
            at, more = self._next(found.end())
        return at

    def _read_tensor(self, name: str, at: int) -> int:
        found = _ENTRY.match(self._data, at)
        if found is None or found.end() - found.start() > ENTRY_LIMIT_BYTES:
            raise _wrong(f"{name[:80]!r} is not the description of a tensor")
        if name in self._tensors:
            raise _wrong(f"tensor {name[:80]!r} is there twice")
        if len(self._tensors) >= TENSORS_LIMIT:
            raise _wrong(f"it has more than {TENSORS_LIMIT} tensors")
        self._tensors[name] = _tensor_of(name, found[0])
        return found.end()


def _tensor_of(name: str, text: bytes) -> Tensor:
    shown = f"tensor {name[:80]!r}"
    try:
        entry = msgspec.json.decode(text, type=_Entry)
    except BAD_JSON as why:
        raise _wrong(f"{shown} is described wrongly: {str(why)[:200]}") from None
    if text.count(b":") != len(_Entry.__struct_fields__):
        raise _wrong(f"{shown} is described twice")
    bits = ELEMENT_BITS.get(entry.dtype)
    if bits is None:
        raise _wrong(f"{shown} has the unknown type {entry.dtype[:40]!r}")
    if len(entry.shape) > DIMENSIONS_LIMIT:
        raise _wrong(f"{shown} has {len(entry.shape)} dimensions")
    if not all(0 <= length <= LARGEST_LENGTH for length in entry.shape):
        raise _wrong(f"{shown} has an impossible shape")
    begin, end = entry.data_offsets
    tensor = Tensor(name, entry.dtype, entry.shape, begin, end - begin)
    if not 0 <= begin <= end or tensor.elements * bits != tensor.size_bytes * 8:
        raise _wrong(f"{shown} of this type and shape does not fill bytes {begin} to {end}")
    return tensor


def _require_whole_cover(tensors: list[Tensor], data_bytes: int) -> None:
    """The tensors lie one after the other, and fill all that follows the header."""
    end = 0
    for tensor in sorted(tensors, key=lambda tensor: (tensor.begin, tensor.size_bytes)):
        if tensor.begin != end:
            what = "lies over another one" if tensor.begin < end else "comes after a hole"
            raise _wrong(f"tensor {tensor.name[:80]!r} {what}")
        end += tensor.size_bytes
        if end > data_bytes:
            raise _wrong(f"tensor {tensor.name[:80]!r} ends outside of the file: it is truncated")
    if end != data_bytes:
        raise _wrong(f"{data_bytes - end} bytes at its end belong to no tensor")


def _text_of(quoted: bytes) -> str:
    try:
        return msgspec.json.decode(quoted, type=str)
    except BAD_JSON:
        raise _wrong("a text in its JSON is broken") from None


def _wrong(what: str) -> InvalidModel:
    return InvalidModel(f"safetensors: {what}")
