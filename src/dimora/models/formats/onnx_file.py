"""Reads the graph of an ONNX file: its inputs, outputs and weights, and where those lie.

The file may be hostile: every length is checked before it is believed, files of weights must be in
the model's own folder and long enough, and weights are never read. Source: `onnx.proto` of the
ONNX project, and the operators of ONNX Runtime that keep weights in few bits.
"""

from __future__ import annotations

import math
import mmap
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from dimora.core.errors import InvalidModel
from dimora.models.names import is_relative_path
from dimora.storage.disk import open_plain

# A message of protobuf cannot be larger.
FILE_LIMIT_BYTES = 2 << 30
_FIELDS = 1 << 20
_DEPTH = 8
_DIMENSIONS = 16
_NAME_BYTES = 1 << 16
_LARGEST = 2**63 - 1

# Numbers of TensorProto.DataType: bits of one element and how people call it.
_TYPES: dict[int, tuple[int, str]] = {
    1: (32, "F32"), 2: (8, "U8"), 3: (8, "I8"), 4: (16, "U16"), 5: (16, "I16"), 6: (32, "I32"),
    7: (64, "I64"), 9: (8, "BOOL"), 10: (16, "F16"), 11: (64, "F64"), 12: (32, "U32"),
    13: (64, "U64"), 16: (16, "BF16"), 17: (8, "F8"), 18: (8, "F8"), 19: (8, "F8"), 20: (8, "F8"),
    21: (4, "INT4"), 22: (4, "INT4"), 23: (4, "F4"),
}  # fmt: skip
_WEIGHTS = frozenset({"F32", "F16", "BF16", "INT4", "F8", "F4"})
# Which inputs of these operators are weights in few bits; their other inputs go with them.
_PACKED = {"MatMulNBits": (1,), "GatherBlockQuantized": (0,), "QMoE": (2, 5, 8)}
# Tables of angles that are written out, and were never learned.
_TABLES = ("cos_cache", "sin_cache")
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """`elements` counts the weights by type; `places` are the files the weights lie in."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    elements: dict[str, int]
    places: frozenset[str]
    block_size: int = 0


def read_graph(path: Path, beside: Mapping[str, int]) -> Graph:
    """The graph in a file; `beside` are the sizes of the files it may keep weights in, by name.

    Raises InvalidModel, OSError.
    """
    with open_plain(path) as file:
        size = file.seek(0, 2)
        if not 0 < size <= FILE_LIMIT_BYTES:
            raise _wrong(f"a graph of {size} bytes is none")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Walk(data, beside).model(range(size))


class _Tensor(NamedTuple):
    name: str
    elements: int
    rank: int
    type: str


class _Walk:
    """One pass over the messages, each given by the places of its bytes."""

    def __init__(self, data: mmap.mmap, beside: Mapping[str, int]) -> None:
        self._data = data
        self._beside = beside
        self._fields = 0
        self._places: set[str] = set()
        self._tensors: dict[str, _Tensor] = {}
        self._packed: dict[str, int] = {}
        self._parts: set[str] = set()
        self._block_size = 0
        self._inputs: list[str] = []
        self._outputs: list[str] = []

    def model(self, span: range) -> Graph:
        graphs = 0
        for number, kind, value in self._messages(span):
            if (number, kind) == (7, _BYTES):
                graphs += 1
                self._graph(value, depth=0)
            elif (number, kind) == (25, _BYTES):
                self._function(value)
        if graphs != 1 or not self._outputs:
            raise _wrong("the file has no graph in it")
        return Graph(
            inputs=tuple(self._inputs),
            outputs=tuple(self._outputs),
            elements=self._count(),
            places=frozenset(self._places),
            block_size=self._block_size,
        )

    def _count(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for name, tensor in self._tensors.items():
            if name in self._packed:
                bits = self._packed[name]
                counts[f"INT{bits}"] += tensor.elements * (8 // bits if tensor.type == "U8" else 1)
            elif name not in self._parts and tensor.rank > 1 and tensor.type in _WEIGHTS:
                counts[tensor.type] += 0 if name.startswith(_TABLES) else tensor.elements
        return dict(counts)

    def _graph(self, span: range, depth: int) -> None:
        if depth > _DEPTH:
            raise _wrong("the graph is nested too deeply")
        for number, kind, value in self._messages(span):
            if kind != _BYTES:
                continue
            if number == 1:
                self._node(value, depth)
            elif number == 5:
                tensor = self._tensor(value)
                self._tensors[tensor.name] = tensor
            elif number == 15:
                raise _wrong("it has sparse weights, which are not known here")
            elif number in (11, 12) and depth == 0:
                (self._inputs if number == 11 else self._outputs).append(self._name_in(value))

    def _function(self, span: range) -> None:
        for number, kind, value in self._messages(span):
            if (number, kind) == (7, _BYTES):
                self._node(value, 1)

    def _node(self, span: range, depth: int) -> None:
        inputs: list[str] = []
        operator = ""
        numbers: dict[str, int] = {}
        for number, kind, value in self._messages(span):
            if (number, kind) == (1, _BYTES):
                inputs.append(self._text(value))
            elif (number, kind) == (4, _BYTES):
                operator = self._text(value)
            elif (number, kind) == (5, _BYTES):
                name, whole = self._attribute(value, depth)
                numbers[name] = whole
        if operator in _PACKED:
            self._note_packed(inputs, _PACKED[operator], numbers)

    def _note_packed(
        self, inputs: list[str], weights: tuple[int, ...], numbers: Mapping[str, int]
    ) -> None:
        bits = numbers.get("bits", numbers.get("expert_weight_bits", 4))
        self._block_size = max(self._block_size, numbers.get("block_size", 0))
        for at, name in enumerate(inputs):
            if at in weights and bits in (1, 2, 4, 8):
                self._packed[name] = bits
            else:
                self._parts.add(name)

    def _attribute(self, span: range, depth: int) -> tuple[str, int]:
        name, whole = "", 0
        for number, kind, value in self._messages(span):
            if (number, kind) == (1, _BYTES):
                name = self._text(value)
            elif number == 3 and kind == _VARINT:
                whole = value
            elif number in (5, 10) and kind == _BYTES:
                self._tensor(value)
            elif number in (6, 11) and kind == _BYTES:
                self._graph(value, depth + 1)
        return name, whole

    def _tensor(self, span: range) -> _Tensor:
        """What a weight is; what it keeps in another file is checked."""
        dims: list[int] = []
        entries: dict[str, str] = {}
        # Of data_type, name and data_location.
        told: dict[int, Any] = {2: 0, 8: range(0), 14: 0}
        for number, kind, value in self._messages(span):
            if number == 1:
                dims += [value] if kind == _VARINT else self._varints(value)
            elif (number, kind) == (13, _BYTES):
                entries.update([self._entry(value)])
            elif (number, kind) in ((2, _VARINT), (8, _BYTES), (14, _VARINT)):
                told[number] = value
            if len(dims) > _DIMENSIONS:
                raise _wrong("a weight has too many dimensions")
        name = self._text(told[8])
        bits, word = _TYPES.get(told[2], (0, ""))
        elements = math.prod(dims)
        if elements > _LARGEST:
            raise _wrong(f"weight {name[:80]!r} has an impossible shape")
        if told[14] or entries:
            self._check_place(name, entries, (elements * bits + 7) // 8)
        return _Tensor(name, elements, len(dims), word)

    def _entry(self, span: range) -> tuple[str, str]:
        parts = {n: self._text(v) for n, kind, v in self._messages(span) if kind == _BYTES}
        return parts.get(1, ""), parts.get(2, "")

    def _check_place(self, name: str, entries: Mapping[str, str], needed_bytes: int) -> None:
        """Raises InvalidModel unless a weight lies within a file of this folder."""
        location = entries.get("location", "")
        if not is_relative_path(location) or location not in self._beside:
            raise _wrong(f"its weights are to be in {location[:80]!r}, which the folder has not")
        offset, length = (_whole(entries.get(key, "0")) for key in ("offset", "length"))
        if offset + max(length, needed_bytes) > self._beside[location]:
            raise _wrong(f"weight {name[:80]!r} ends outside of its file: it is truncated")
        self._places.add(location)

    def _name_in(self, span: range) -> str:
        return next(
            (self._text(v) for n, k, v in self._messages(span) if (n, k) == (1, _BYTES)), ""
        )

    def _messages(self, span: range) -> Iterator[tuple[int, int, Any]]:
        """Number, wire kind and value of each field: a number, or the places of its bytes."""
        at, end = span.start, span.stop
        while at < end:
            self._fields += 1
            if self._fields > _FIELDS:
                raise _wrong(f"the file has more than {_FIELDS} fields")
            key, at = self._varint(at, end)
            kind = key & 7
            if kind == _VARINT:
                value, at = self._varint(at, end)
                yield key >> 3, kind, value
                continue
            length, at = self._length(at, end, kind)
            if length > end - at:
                raise _wrong("a part of it is longer than the file: it is truncated or damaged")
            yield key >> 3, kind, range(at, at + length)
            at += length

    def _length(self, at: int, end: int, kind: int) -> tuple[int, int]:
        if kind == _BYTES:
            return self._varint(at, end)
        if kind in (_FIXED64, _FIXED32):
            return (8 if kind == _FIXED64 else 4), at
        raise _wrong("it is no ONNX graph")

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while at < end and shift < 70:
            byte = self._data[at]
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return value, at
        raise _wrong("it is truncated or no ONNX graph")

    def _varints(self, span: range) -> list[int]:
        values: list[int] = []
        at = span.start
        while at < span.stop and len(values) <= _DIMENSIONS:
            value, at = self._varint(at, span.stop)
            values.append(value)
        return values

    def _text(self, span: range) -> str:
        if len(span) > _NAME_BYTES:
            raise _wrong(f"a name of {len(span)} bytes is too long")
        return self._data[span.start : span.stop].decode("utf-8", "replace")


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise _wrong("a weight has an impossible place in its file")
    return int(text)


def _wrong(what: str) -> InvalidModel:
    return InvalidModel(f"ONNX: {what}")
