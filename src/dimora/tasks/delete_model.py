"""Remove a model's name, and the files no other name needs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms, readable_or_none
from dimora.tasks.grounding import forget_documents

RIGHT: Right = "manage"


class DeleteModel(Request, frozen=True, kw_only=True, tag="delete_model"):
    pass


async def run(request: DeleteModel, rooms: Rooms) -> AsyncIterator[Event]:
    """Done alone. The model's worker ends too, once it has answered what it is asked."""
    # One whose file is broken can be deleted all the same.
    model = readable_or_none(rooms, request.model)
    await asyncio.to_thread(rooms.models.delete, request.model)
    if model is not None:
        await rooms.unload(model)
        await forget_documents(rooms, model)
    yield Done(warnings=request.warnings)
