"""Take an uploaded file into the store, under its digest."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dimora.core.errors import BadRequest
from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms

RIGHT: Right = "manage"


class StoreBlob(Request, frozen=True, kw_only=True, tag="store_blob"):
    """`digest` is `sha256:` and 64 hex digits; the bytes come as the request's content.

    `size_bytes` is how many the sender announced, None when it did not say.
    """

    digest: str
    size_bytes: int | None = None


class BlobStored(Event, frozen=True, kw_only=True, tag="blob_stored"):
    """`created`: the file was not here before."""

    digest: str
    size_bytes: int
    created: bool


async def run(request: StoreBlob, rooms: Rooms) -> AsyncIterator[Event]:
    """BlobStored, then Done."""
    if rooms.content is None:
        raise BadRequest("the bytes of the file are missing", hint="send them as the body")
    stored = await rooms.models.store_blob(request.digest, rooms.content, request.size_bytes)
    yield BlobStored(digest=stored.digest, size_bytes=stored.size_bytes, created=stored.created)
    yield Done(warnings=request.warnings)
