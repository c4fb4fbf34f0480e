"""Look whether the house is in order, and tell what it would reach outside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms
from dimora.tasks.finding import Finding

# It tells of keys, credentials and directories: by name only, and still not to everybody.
RIGHT: Right = "administer"


class ExamineHouse(Request, frozen=True, kw_only=True, tag="examine_house"):
    """Answers with Examined, one for each thing looked at. Nothing outside is asked but with
    `reach`, which knocks at every host of the settings."""

    reach: bool = False


class Examined(Event, frozen=True, kw_only=True, tag="examined"):
    finding: Finding


async def run(request: ExamineHouse, rooms: Rooms) -> AsyncIterator[Event]:
    """Examined, as things are looked at, then Done."""
    async with aclosing(rooms.examine(reach=request.reach)) as findings:
        async for finding in findings:
            yield Examined(finding=finding)
    yield Done(warnings=request.warnings)
