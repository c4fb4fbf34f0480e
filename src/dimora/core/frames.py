"""Messages on a byte stream: a length (4 bytes, big-endian) and that much MessagePack.

Spoken between server and workers, and by our own terminal client. Never pickle.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

HEADER_BYTES = 4
# A frame above this is a broken or hostile peer: the largest honest one is an embedding batch.
LIMIT_BYTES = 256 * 2**20

_encoder = msgspec.msgpack.Encoder()


def pack(value: Any) -> bytes:
    """One frame."""
    body = _encoder.encode(value)
    return len(body).to_bytes(HEADER_BYTES, "big") + body


class FrameReader:
    """Cuts a byte stream back into frames of the types it was made for."""

    def __init__(self, kind: Any) -> None:
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """Every whole frame that `data` completes.

        Raises ValueError (msgspec.DecodeError is one) when the stream is not ours.
        """
        self._buffer += data
        start = 0
        while len(self._buffer) - start >= HEADER_BYTES:
            length = int.from_bytes(self._buffer[start : start + HEADER_BYTES], "big")
            if length > LIMIT_BYTES:
                raise ValueError(f"a frame of {length} bytes is above the limit")
            end = start + HEADER_BYTES + length
            if len(self._buffer) < end:
                break
            yield self._decoder.decode(bytes(self._buffer[start + HEADER_BYTES : end]))
            start = end
        del self._buffer[:start]
