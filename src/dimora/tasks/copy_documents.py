"""Put files that were sent into a collection."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms
from dimora.tasks.kept_files import copy_kept
from dimora.tasks.knowing import Ingested

RIGHT: Right = "manage"


class CopyDocuments(Request, frozen=True, kw_only=True, tag="copy_documents"):
    """`documents` are ids of kept files."""

    collection: str
    documents: tuple[str, ...]


async def run(request: CopyDocuments, rooms: Rooms) -> AsyncIterator[Event]:
    """An Ingested for each, then Done. Raises NotFound, Conflict."""
    await rooms.knowledge.collection(request.collection)
    for id_ in request.documents:
        yield Ingested(document=await copy_kept(rooms, id_, request.collection), became="added")
    yield Done(warnings=request.warnings)
