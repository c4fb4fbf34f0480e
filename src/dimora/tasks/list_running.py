"""List the models in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms, Running

RIGHT: Right = "read"


class ListRunning(Request, frozen=True, kw_only=True, tag="list_running"):
    pass


class RunningFound(Event, frozen=True, kw_only=True, tag="running_found"):
    """Latest expiry first."""

    running: tuple[Running, ...]


async def run(request: ListRunning, rooms: Rooms) -> AsyncIterator[Event]:
    """RunningFound, then Done."""
    yield RunningFound(running=tuple(rooms.running()))
    yield Done(warnings=request.warnings)
