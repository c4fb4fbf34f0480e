"""Take a file of this machine into the store; for the person at the terminal alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from dimora.core.errors import Forbidden
from dimora.core.types import Done, Event, Progress, Request
from dimora.tasks.base import Right, Rooms

RIGHT: Right = "manage"


class TakeFile(Request, frozen=True, kw_only=True, tag="take_file"):
    """`path` is the file's whole path on the machine the house runs on."""

    path: str


class FileTaken(Event, frozen=True, kw_only=True, tag="file_taken"):
    """`linked`: the store shares the very file, which is read-only now."""

    digest: str
    size_bytes: int
    linked: bool


async def run(request: TakeFile, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress events, then FileTaken and Done."""
    if rooms.principal.proof != "terminal":
        raise Forbidden("only the terminal may name a file of this machine", hint="upload it")
    async with aclosing(rooms.models.take_file(request.path)) as steps:
        async for step in steps:
            if isinstance(step, Progress):
                yield step
            else:
                yield FileTaken(digest=step.digest, size_bytes=step.size_bytes, linked=step.linked)
    yield Done(warnings=request.warnings)
