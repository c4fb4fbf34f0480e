"""List the models in the store."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dimora.core.types import Done, Event, Request
from dimora.tasks.base import ModelSummary, Right, Rooms

RIGHT: Right = "read"


class ListModels(Request, frozen=True, kw_only=True, tag="list_models"):
    """`prefix` keeps the names that begin with it."""

    prefix: str = ""


class ModelsFound(Event, frozen=True, kw_only=True, tag="models_found"):
    """Newest first."""

    models: tuple[ModelSummary, ...]


async def run(request: ListModels, rooms: Rooms) -> AsyncIterator[Event]:
    """ModelsFound, then Done."""
    wanted = request.prefix.lower()
    found = [m for m in rooms.models.all() if m.name.lower().startswith(wanted)]
    yield ModelsFound(models=tuple(found))
    yield Done(warnings=request.warnings)
