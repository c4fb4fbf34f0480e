"""Tell what of llama.cpp's programs is installed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms, ToolchainState

RIGHT: Right = "read"


class ShowToolchain(Request, frozen=True, kw_only=True, tag="show_toolchain"):
    """Answers with one ToolchainShown."""


class ToolchainShown(Event, frozen=True, kw_only=True, tag="toolchain_shown"):
    toolchain: ToolchainState


async def run(request: ShowToolchain, rooms: Rooms) -> AsyncIterator[Event]:
    """One ToolchainShown, then Done."""
    yield ToolchainShown(toolchain=await asyncio.to_thread(rooms.models.toolchain))
    yield Done(warnings=request.warnings)
