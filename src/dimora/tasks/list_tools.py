"""List the tools of the settings, as an agent may use them."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dimora.core.types import Done, Event, Request
from dimora.tasks.acting import OfferedTool, SilentSource
from dimora.tasks.base import Right, Rooms

# They act with the rights of who runs the house.
RIGHT: Right = "administer"


class ListTools(Request, frozen=True, kw_only=True, tag="list_tools"):
    """Asks every source what it has."""


class ToolsListed(Event, frozen=True, kw_only=True, tag="tools_listed"):
    """`silent` sources gave no answer."""

    tools: tuple[OfferedTool, ...]
    silent: tuple[SilentSource, ...] = ()


async def run(request: ListTools, rooms: Rooms) -> AsyncIterator[Event]:
    """One ToolsListed, then Done."""
    tools, silent = await rooms.tools.offered()
    yield ToolsListed(tools=tuple(tools), silent=tuple(silent))
    yield Done(warnings=request.warnings)
