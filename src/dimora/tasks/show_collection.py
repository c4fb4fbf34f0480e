"""Tell what a collection is and which documents it has."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms
from dimora.tasks.knowing import Collection, KnownDocument
from dimora.tasks.retrieving import DEFAULT_COLLECTION, collection_or_none

RIGHT: Right = "read"


class ShowCollection(Request, frozen=True, kw_only=True, tag="show_collection"):
    """With `document` (its id or name) of this one alone. `or_empty`: a collection that is not
    there is told as one without documents."""

    collection: str = DEFAULT_COLLECTION
    document: str = ""
    or_empty: bool = False


class CollectionTold(Event, frozen=True, kw_only=True, tag="collection_told"):
    """`documents` by name."""

    collection: Collection
    documents: tuple[KnownDocument, ...]


async def run(request: ShowCollection, rooms: Rooms) -> AsyncIterator[Event]:
    """One CollectionTold, then Done. Raises NotFound."""
    if request.or_empty and await collection_or_none(rooms, request.collection) is None:
        yield CollectionTold(
            collection=Collection(name=request.collection, embedder=""), documents=()
        )
        yield Done(warnings=request.warnings)
        return
    collection = await rooms.knowledge.collection(request.collection)
    if request.document:
        documents = [await rooms.knowledge.document(request.collection, request.document)]
    else:
        documents = await rooms.knowledge.documents(request.collection)
    yield CollectionTold(collection=collection, documents=tuple(documents))
    yield Done(warnings=request.warnings)
