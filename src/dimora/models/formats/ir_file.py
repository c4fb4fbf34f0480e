"""Reads the graph of an OpenVINO IR: its weights' places, its inputs and outputs, its notes.

The XML may be hostile: it is read in pieces, once, by a parser that knows no entities, and where
each weight lies is checked against the size of the file of weights. Weights are never read.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any
from xml.parsers import expat

import msgspec

from dimora.core.errors import InvalidModel
from dimora.storage.disk import open_plain

XML_LIMIT_BYTES = 256 << 20
_CHUNK_BYTES = 1 << 18
# One tag with all its attributes; a chat template is the longest there is.
_TAG_LIMIT_BYTES = 4 << 20
_DEPTH = 64
_TAGS = 1 << 22
_CONSTANTS = 1 << 20
# Inputs and outputs together; a model of the longest sort has some hundreds.
_NAMES = 4096
_NOTES = 4096
_NOTE_CHARACTERS = 1 << 20
_LARGEST = 2**63 - 1
# Bits of one element, as OpenVINO names its types.
_BITS = {
    "boolean": 8, "bf16": 16, "f16": 16, "f32": 32, "f64": 64, "i4": 4, "i8": 8, "i16": 16,
    "i32": 32, "i64": 64, "u1": 1, "u2": 2, "u3": 3, "u4": 4, "u6": 6, "u8": 8, "u16": 16,
    "u32": 32, "u64": 64, "nf4": 4, "f8e4m3": 8, "f8e5m2": 8, "f4e2m1": 4, "f8e8m0": 8,
}  # fmt: skip
# Constants beside the weights they scale.
_BESIDES = ("/scale", "/zero_point", "/fq_weights_1/input_low", "/fq_weights_1/input_high")


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """`elements` counts the weights by type; `notes` are the words of `rt_info`, by their path
    such as `nncf/weight_compression/mode`."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    elements: dict[str, int]
    notes: dict[str, str]


def read_graph(xml: Path, weights: Path | None) -> Graph:
    """The graph in a file whose weights are in the other. Raises InvalidModel, OSError."""
    weights_bytes = weights.stat().st_size if weights is not None else 0
    with open_plain(xml) as file:
        if file.seek(0, 2) > XML_LIMIT_BYTES:
            raise _wrong(f"the graph is larger than {XML_LIMIT_BYTES} bytes")
        file.seek(0)
        walk = _Walk(weights_bytes)
        while chunk := file.read(_CHUNK_BYTES):
            walk.feed(chunk)
    return walk.finish()


class _Walk:
    """One pass over the tags."""

    def __init__(self, weights_bytes: int) -> None:
        self._weights_bytes = weights_bytes
        self._path: list[str] = []
        self._fed = self._tags = 0
        self._layer: dict[str, str] = {}
        self._inputs: list[str] = []
        self._outputs: list[str] = []
        self._elements: Counter[str] = Counter()
        self._notes: dict[str, str] = {}
        self._constants = 0
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype

    def feed(self, data: bytes) -> None:
        self._parse(data, final=False)
        self._fed += len(data)
        if self._fed - max(0, self._parser.CurrentByteIndex) > _TAG_LIMIT_BYTES:
            raise _wrong(f"one of its tags is larger than {_TAG_LIMIT_BYTES} bytes")

    def finish(self) -> Graph:
        self._parse(b"", final=True)
        if not self._outputs:
            raise _wrong("the graph has no output")
        return Graph(
            inputs=tuple(self._inputs),
            outputs=tuple(self._outputs),
            elements=dict(self._elements),
            notes=self._notes,
        )

    def _parse(self, data: bytes, *, final: bool) -> None:
        try:
            self._parser.Parse(data, final)
        except expat.ExpatError as why:
            raise _wrong(f"the graph is no XML: {expat.ErrorString(why.code)}") from None

    def _refuse_doctype(self, *_: Any) -> None:
        raise _wrong("the graph declares a document type, which no model needs")

    def _start(self, tag: str, values: dict[str, str]) -> None:
        if not self._path and tag != "net":
            raise _wrong(f"the XML is no graph: it begins with {tag[:40]!r}")
        self._path.append(tag)
        self._tags += 1
        if len(self._path) > _DEPTH or self._tags > _TAGS:
            raise _wrong("the graph has too many tags, or they are nested too deeply")
        if tag == "layer":
            self._layer = values
            if len(self._path) == 3 and values.get("type") == "Parameter":
                self._inputs.append(values.get("name", ""))
            elif len(self._path) == 3 and values.get("type") == "Result":
                names = values.get("output_names", values.get("name", ""))
                self._outputs += names.split(",", _NAMES)
            if len(self._inputs) + len(self._outputs) > _NAMES:
                raise _wrong(f"the graph has more than {_NAMES} inputs and outputs")
        elif tag == "data" and self._layer.get("type") == "Const":
            self._take_constant(values)
        elif self._path[1:2] == ["rt_info"] and "value" in values:
            self._take_note(values)

    def _end(self, tag: str) -> None:
        self._path.pop()

    def _take_note(self, values: dict[str, str]) -> None:
        words = values["value"]
        if len(self._notes) < _NOTES and len(words) <= _NOTE_CHARACTERS:
            self._notes["/".join(self._path[2:])] = words

    def _take_constant(self, values: dict[str, str]) -> None:
        self._constants += 1
        if self._constants > _CONSTANTS:
            raise _wrong(f"the graph has more than {_CONSTANTS} constants")
        name = self._layer.get("name", "")
        kind = values.get("element_type", "")
        shape = [_number(part, name) for part in values.get("shape", "").split(",") if part.strip()]
        offset, size = (_number(values.get(key, ""), name) for key in ("offset", "size"))
        if offset + size > self._weights_bytes:
            raise _wrong(f"constant {name[:80]!r} ends outside of the weights: they are truncated")
        elements = 1
        for length in shape:
            elements *= length
        bits = _BITS.get(kind)
        # Some kinds are packed in threes and strings have lengths of their own: at least so much.
        if bits is not None and kind not in ("u3", "u6") and (elements * bits + 7) // 8 != size:
            raise _wrong(f"constant {name[:80]!r} of this type and shape has not {size} bytes")
        if len(shape) > 1 and not name.endswith(_BESIDES):
            self._elements[kind] += elements


def _number(text: str, name: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= _LARGEST):
        raise _wrong(f"constant {name[:80]!r} has an impossible place or shape")
    return int(text)


def _wrong(what: str) -> InvalidModel:
    return InvalidModel(f"OpenVINO IR: {what}")
