"""Remove a collection with all that is known of its documents."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms

RIGHT: Right = "manage"


class DeleteCollection(Request, frozen=True, kw_only=True, tag="delete_collection"):
    collection: str


async def run(request: DeleteCollection, rooms: Rooms) -> AsyncIterator[Event]:
    """Done alone. Raises NotFound."""
    await rooms.knowledge.drop_collection(request.collection)
    yield Done(warnings=request.warnings)
