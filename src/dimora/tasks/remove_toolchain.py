"""Remove llama.cpp's programs that were built here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from dimora.core.errors import NotFound
from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms

RIGHT: Right = "administer"


class RemoveToolchain(Request, frozen=True, kw_only=True, tag="remove_toolchain"):
    """Answers with Done alone."""


async def run(request: RemoveToolchain, rooms: Rooms) -> AsyncIterator[Event]:
    """Done, once nothing is left. Raises NotFound, Conflict."""
    if not await asyncio.to_thread(rooms.models.remove_toolchain):
        raise NotFound("there is no toolchain here", code="toolchain_missing")
    yield Done(warnings=request.warnings)
