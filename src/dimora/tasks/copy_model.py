"""Give a model a second name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms

RIGHT: Right = "manage"


class CopyModel(Request, frozen=True, kw_only=True, tag="copy_model"):
    destination: str


async def run(request: CopyModel, rooms: Rooms) -> AsyncIterator[Event]:
    """Done alone."""
    await asyncio.to_thread(rooms.models.copy, request.model, request.destination)
    yield Done(warnings=request.warnings)
