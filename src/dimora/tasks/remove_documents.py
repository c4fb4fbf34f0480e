"""Remove documents from a collection, with everything that is known of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dimora.core.errors import BadRequest
from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms
from dimora.tasks.knowing import Ingested
from dimora.tasks.retrieving import DEFAULT_COLLECTION

RIGHT: Right = "manage"


class RemoveDocuments(Request, frozen=True, kw_only=True, tag="remove_documents"):
    """`documents` are ids or names; `NAME/` is all that is below a folder of this name."""

    collection: str = DEFAULT_COLLECTION
    documents: tuple[str, ...]


async def run(request: RemoveDocuments, rooms: Rooms) -> AsyncIterator[Event]:
    """An Ingested for each, then Done. Raises NotFound, before anything is removed."""
    if not request.documents:
        raise BadRequest("there is nothing to remove", param="documents")
    known = await rooms.knowledge.documents(request.collection)
    ids: dict[str, None] = {}
    for asked in request.documents:
        if asked.endswith("/") and (below := [d for d in known if d.name.startswith(asked)]):
            ids |= dict.fromkeys(each.id for each in below)
        else:
            ids[(await rooms.knowledge.document(request.collection, asked)).id] = None
    for id_ in ids:
        removed = await rooms.knowledge.remove(request.collection, id_)
        yield Ingested(document=removed, became="removed")
    yield Done(warnings=request.warnings)
