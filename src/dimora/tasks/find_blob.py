"""Tell whether a file is in the store, by its digest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from dimora.core.errors import NotFound
from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms

# Only who may create a model has a reason to ask.
RIGHT: Right = "manage"


class FindBlob(Request, frozen=True, kw_only=True, tag="find_blob"):
    """`digest` is `sha256:` and 64 hex digits."""

    digest: str


class BlobFound(Event, frozen=True, kw_only=True, tag="blob_found"):
    """The file is here, and its bytes are what the digest says."""

    digest: str
    size_bytes: int


async def run(request: FindBlob, rooms: Rooms) -> AsyncIterator[Event]:
    """BlobFound, then Done. Raises NotFound when it is not here, or is damaged."""
    size_bytes = await asyncio.to_thread(rooms.models.find_blob, request.digest)
    if size_bytes is None:
        raise NotFound(f"there is no blob {request.digest}", code="blob_not_found")
    yield BlobFound(digest=request.digest, size_bytes=size_bytes)
    yield Done(warnings=request.warnings)
