"""Give a file that belongs to a model, or a part of it, in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

from dimora.core.errors import InvalidModel
from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms

RIGHT: Right = "read"

PIECE_BYTES = 1 << 20


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Which bytes: from `first` to `last`, both in it. Without `last` all from `first` on, without
    `first` the last `last` bytes."""

    first: int | None = None
    last: int | None = None


class ReadBlob(Request, frozen=True, kw_only=True, tag="read_blob"):
    """`model` is a name without its tag; the file must belong to a model of that name.

    `only_facts` asks for no bytes.
    """

    digest: str
    part: Part | None = None
    only_facts: bool = False


class BlobOpened(Event, frozen=True, kw_only=True, tag="blob_opened"):
    """The pieces that follow are the bytes from `start` to `end` (not in it) of `size_bytes`.

    `outside` says that the file has no byte of the part that was asked for: no piece follows.
    """

    digest: str
    size_bytes: int
    start: int
    end: int
    outside: bool = False


class BlobPiece(Event, frozen=True, kw_only=True, tag="blob_piece"):
    data: bytes


async def run(request: ReadBlob, rooms: Rooms) -> AsyncIterator[Event]:
    """BlobOpened, then BlobPieces, then Done. Raises NotFound, BadRequest, InvalidModel."""
    blob = await asyncio.to_thread(rooms.models.open_blob, request.model, request.digest)
    try:
        span = _span(request.part, blob.size_bytes)
        start, end = span or (0, 0)
        yield BlobOpened(
            digest=blob.digest,
            size_bytes=blob.size_bytes,
            start=start,
            end=end,
            outside=span is None,
        )
        while start < end and not request.only_facts:
            data = await asyncio.to_thread(blob.read, start, min(PIECE_BYTES, end - start))
            if not data:
                raise InvalidModel(f"blob {blob.digest} ended early")
            start += len(data)
            yield BlobPiece(data=data)
    finally:
        blob.close()
    yield Done(warnings=request.warnings)


def _span(part: Part | None, size: int) -> tuple[int, int] | None:
    """Begin and end of what is asked for; None when the file has no such byte."""
    if part is None:
        return 0, size
    if part.first is None:
        length = min(part.last or 0, size)
        return (size - length, size) if length else None
    if part.first >= size:
        return None
    return part.first, size if part.last is None else min(part.last + 1, size)
