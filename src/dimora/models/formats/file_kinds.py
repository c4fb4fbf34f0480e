"""Tells what a file is by its bytes, whatever its name says, and refuses what could run code.

Nothing is unpacked or unpickled to find out: the first bytes are looked at, and no more.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from pathlib import Path
from typing import BinaryIO, Literal

from dimora.core.errors import InvalidModel
from dimora.storage.disk import open_plain

Kind = Literal[
    "gguf",
    "safetensors",
    "onnx",
    "json",
    "xml",
    "text",
    "pickle",
    "zip",
    "tar",
    "compressed",
    "program",
    "empty",
    "unknown",
]
WeightsKind = Literal["gguf", "safetensors"]

_HEAD_BYTES = 4096
_ZIP_END = b"PK\x05\x06"
_ZIP_END_BYTES = 22

_SIGNATURES: tuple[tuple[bytes, Kind], ...] = (
    (b"GGUF", "gguf"),
    (b"PK\x03\x04", "zip"),
    (_ZIP_END, "zip"),
    (b"PK\x07\x08", "zip"),
    (b"\x1f\x8b", "compressed"),
    (b"BZh", "compressed"),
    (b"\xfd7zXZ\x00", "compressed"),
    (b"\x28\xb5\x2f\xfd", "compressed"),
    (b"7z\xbc\xaf\x27\x1c", "compressed"),
    (b"Rar!\x1a\x07", "compressed"),
    (b"\x7fELF", "program"),
    (b"MZ\x90\x00", "program"),
    (b"#!", "program"),
)
# What is never taken in, and what it is in a person's words.
_REFUSED: dict[Kind, str] = {
    "pickle": "a Python pickle, which can run code when it is opened",
    "zip": "a zip archive, as PyTorch packs its pickles",
    "tar": "a tar archive",
    "compressed": "a compressed file",
    "program": "a program",
}
_OTHER: dict[Kind, str] = {
    "onnx": "an ONNX graph, which belongs to a folder",
    "json": "JSON text",
    "xml": "XML text",
    "text": "text",
    "empty": "empty",
    "unknown": "of no known kind",
}
_HINT = "Dimora takes GGUF and safetensors files; look for the model in one of these"


def kind_of(path: Path) -> Kind:
    """What the file is. Raises InvalidModel when it is no plain file, OSError."""
    with open_plain(path) as file:
        return kind_of_opened(file)


def require_weights(path: Path, shown: str = "") -> WeightsKind:
    """What kind of weights the file holds; `shown` is its name for the message.

    Its header is not read: that is for `models.gguf` and `models.safetensors_file`.

    Raises InvalidModel for everything but GGUF and safetensors, OSError.
    """
    kind = kind_of(path)
    if kind == "gguf" or kind == "safetensors":
        return kind
    what = _REFUSED.get(kind) or _OTHER.get(kind, kind)
    raise InvalidModel(f"{shown or path.name!r} is {what}, not a model's weights", hint=_HINT)


def require_harmless(path: Path, shown: str = "") -> Kind:
    """What one file of a model's folder is, such as a tokenizer or a graph.

    Raises InvalidModel for pickles, archives and programs under any name, OSError.
    """
    kind = kind_of(path)
    if kind in _REFUSED:
        raise InvalidModel(f"{shown or path.name!r} is {_REFUSED[kind]}: refused", hint=_HINT)
    return kind


def kind_of_opened(file: BinaryIO) -> Kind:
    """What an opened file is; it stands at its beginning."""
    head = file.read(_HEAD_BYTES)
    size = file.seek(0, 2)
    if not head:
        return "empty"
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    if _is_safetensors(head, size):
        return "safetensors"
    if head[257:262] == b"ustar":
        return "tar"
    if looks_pickled(head):
        return "pickle"
    if _is_onnx(head):
        return "onnx"
    file.seek(max(0, size - _ZIP_END_BYTES))
    if file.read(_ZIP_END_BYTES).startswith(_ZIP_END):
        return "zip"
    return _text_kind(head)


def _is_safetensors(head: bytes, size: int) -> bool:
    """An unsigned 64-bit length of what follows, then JSON's opening brace."""
    return len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8


def _is_onnx(head: bytes) -> bool:
    """A ModelProto: field 1 is a small number (the version), then another field of the message."""
    return len(head) > 4 and head[0] == 0x08 and 0 < head[1] < 64 and head[2] in _MODEL_FIELDS


# producer_name, producer_version, domain, model_version, doc_string, graph, opset_import.
_MODEL_FIELDS = frozenset(b"\x12\x1a\x22\x28\x32\x3a\x42")


def _text_kind(head: bytes) -> Kind:
    try:
        # The last character may be cut in two where there is more.
        text = getincrementaldecoder("utf-8")().decode(head, final=len(head) < _HEAD_BYTES)
    except UnicodeDecodeError:
        return "unknown"
    if "\0" in text:
        return "unknown"
    begin = text.lstrip("\ufeff \t\r\n")[:1]
    return {"{": "json", "[": "json", "<": "xml"}.get(begin, "text")  # type: ignore[return-value]


# Pickle's opcodes by the form of what follows them (pickletools of CPython): nothing, so many
# bytes, a length of so many bytes and then that many, lines of text.
_NOTHING = frozenset(
    b"(.012NQRabde]lost)u}\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94\x97\x98"
)
_BYTES = {0x80: 1, 0x82: 1, 0x83: 2, 0x84: 4, 0x95: 8} | dict(
    zip(b"KMJGhjqr", (1, 2, 4, 8, 1, 4, 1, 4), strict=True)
)
_LENGTHS = {0x8A: 1, 0x8B: 4, 0x8C: 1, 0x8D: 8, 0x8E: 8, 0x96: 8} | dict(
    zip(b"UTBCX", (1, 4, 4, 1, 4), strict=True)
)
_LINES = dict(zip(b"FILSVgpPci", (1, 1, 1, 1, 1, 1, 1, 1, 2, 2), strict=True))
# These call something, or end the pickle.
_TELLING = frozenset(b".Rbio\x81\x92")
_IMPORTED = re.compile(rb"[A-Za-z_][\w.]*")
_WALK = 256


def looks_pickled(head: bytes) -> bool:
    """Whether the bytes begin like a pickle; nothing of it is carried out.

    Protocols 2 and later say what they are. The older ones are text, and are told by what makes
    them dangerous: an import and then a call.
    """
    tells_protocol = len(head) > 2 and head[0] == 0x80 and 2 <= head[1] <= 8
    imports = False
    at = 0
    for _ in range(_WALK):
        if at >= len(head):
            break
        after = _after_opcode(head, at)
        if after is None:
            return False
        opcode, at = head[at], after
        imports = imports or opcode in b"ci"
        if opcode in _TELLING and (tells_protocol or imports):
            return True
    return tells_protocol


def _after_opcode(head: bytes, at: int) -> int | None:
    """Where the next opcode begins, which may be beyond `head`; None where there is none here."""
    opcode, at = head[at], at + 1
    if opcode in _NOTHING:
        return at
    if opcode in _BYTES:
        return at + _BYTES[opcode]
    if opcode in _LINES:
        return _after_lines(head, at, _LINES[opcode])
    if opcode in _LENGTHS:
        width = _LENGTHS[opcode]
        return at + width + int.from_bytes(head[at : at + width], "little")
    return None


def _after_lines(head: bytes, at: int, count: int) -> int | None:
    for _ in range(count):
        end = head.find(b"\n", at)
        if end < 0 or (count == 2 and not _IMPORTED.fullmatch(head, at, end)):
            return None
        at = end + 1
    return at
