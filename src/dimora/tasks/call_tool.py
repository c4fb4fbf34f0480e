"""Call a tool of the settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from dimora.core.types import Done, Event, Request
from dimora.tasks.acting import ToolOutput
from dimora.tasks.base import Right, Rooms

# They act with the rights of who runs the house.
RIGHT: Right = "administer"


class CallTool(Request, frozen=True, kw_only=True, tag="call_tool"):
    """Whoever asks this has let the call happen: nobody is asked again. The name is recorded, the
    arguments are not."""

    tool: str
    arguments: dict[str, Any] = {}


class ToolAnswered(Event, frozen=True, kw_only=True, tag="tool_answered"):
    output: ToolOutput


async def run(request: CallTool, rooms: Rooms) -> AsyncIterator[Event]:
    """One ToolAnswered, then Done."""
    yield ToolAnswered(output=await rooms.tools.call(request.tool, request.arguments))
    yield Done(warnings=request.warnings)
