"""GGUF files put together byte by byte, so that any byte can be wrong."""

from __future__ import annotations

import struct

MAGIC = b"GGUF"
U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
_FORMS = "BbHhIif?__Qqd"


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def pair(key: str | bytes, kind: int, value: bytes) -> bytes:
    """A key, its type and the bytes of its value."""
    return text(key) + struct.pack("<I", kind) + value


def number(key: str, value: float, kind: int = U32) -> bytes:
    """A key and one number."""
    return pair(key, kind, struct.pack(f"<{_FORMS[kind]}", value))


def array(key: str, kind: int, values: list[bytes] | list[float], *, count: int = -1) -> bytes:
    """A key and an array, which may lie about its length."""
    parts = [v if isinstance(v, bytes) else struct.pack(f"<{_FORMS[kind]}", v) for v in values]
    head = struct.pack("<IQ", kind, len(parts) if count < 0 else count)
    return pair(key, ARRAY, head + b"".join(parts))


def tensor(
    name: str | bytes, shape: tuple[int, ...] = (4,), kind: int = 0, offset: int = 0
) -> bytes:
    return (
        text(name)
        + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        + struct.pack("<IQ", kind, offset)
    )


ARCHITECTURE = pair("general.architecture", STRING, text("llama"))


def file_of(
    pairs: list[bytes],
    tensors: list[bytes],
    *,
    version: int = 3,
    data_bytes: int = 64,
    counts: tuple[int, int] | None = None,
    magic: bytes = MAGIC,
    alignment: int = 32,
) -> bytes:
    """`counts` are the numbers of tensors and keys the file claims."""
    head = magic + struct.pack("<IQQ", version, *(counts or (len(tensors), len(pairs))))
    body = head + b"".join(pairs) + b"".join(tensors)
    return body + bytes(-len(body) % alignment) + bytes(data_bytes)
