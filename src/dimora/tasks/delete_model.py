"""Remove a model's name, and the files no other name needs."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dimora.core.errors import DimoraError
from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Model, Right, Rooms
from dimora.tasks.grounding import forget_documents

RIGHT: Right = "manage"


class DeleteModel(Request, frozen=True, kw_only=True, tag="delete_model"):
    pass


async def run(request: DeleteModel, rooms: Rooms) -> AsyncIterator[Event]:
    """Done alone. The model's worker ends too, once it has answered what it is asked."""
    model = _found(rooms, request.model)
    rooms.models.delete(request.model)
    if model is not None:
        await forget_documents(rooms, model)
        await rooms.unload(model)
    yield Done(warnings=request.warnings)


def _found(rooms: Rooms, name: str) -> Model | None:
    """The model, or None where its file is broken: it can be deleted all the same."""
    try:
        return rooms.models.find(name)
    except DimoraError:
        return None
