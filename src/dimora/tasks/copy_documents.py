"""Put files that were sent into a collection."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms
from dimora.tasks.kept_files import copy_kept, kept_files
from dimora.tasks.knowing import Ingested

RIGHT: Right = "manage"


class CopyDocuments(Request, frozen=True, kw_only=True, tag="copy_documents"):
    """`documents` are ids of kept files."""

    collection: str
    documents: tuple[str, ...]


async def run(request: CopyDocuments, rooms: Rooms) -> AsyncIterator[Event]:
    """An Ingested for each, then Done. Raises NotFound, Conflict, before anything is put in."""
    collection = await rooms.knowledge.collection(request.collection)
    for kept in await kept_files(rooms, request.documents, collection.embedder):
        yield Ingested(document=await copy_kept(rooms, kept, collection.name), became="added")
    yield Done(warnings=request.warnings)
