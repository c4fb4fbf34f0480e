"""Tell which collections of documents a workspace has."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms
from dimora.tasks.knowing import Collection

RIGHT: Right = "read"


class ListCollections(Request, frozen=True, kw_only=True, tag="list_collections"):
    """Those of models are left out unless `hidden`."""

    hidden: bool = False


class CollectionsFound(Event, frozen=True, kw_only=True, tag="collections_found"):
    collections: tuple[Collection, ...]


async def run(request: ListCollections, rooms: Rooms) -> AsyncIterator[Event]:
    """One CollectionsFound, by name, then Done."""
    found = await rooms.knowledge.collections()
    yield CollectionsFound(
        collections=tuple(each for each in found if request.hidden or not each.hidden)
    )
    yield Done(warnings=request.warnings)
