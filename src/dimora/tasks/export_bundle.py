"""Write models into one signed file; for the person at the terminal alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms

RIGHT: Right = "manage"


class ExportBundle(Request, frozen=True, kw_only=True, tag="export_bundle"):
    """`names` of models go into the file `path`; `replace` one that is there."""

    names: tuple[str, ...]
    path: str
    replace: bool = False


async def run(request: ExportBundle, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress events, then Done."""
    steps = rooms.models.export_bundle(request.names, request.path, replace=request.replace)
    async with aclosing(steps):
        async for progress in steps:
            yield progress
    yield Done(warnings=request.warnings)
