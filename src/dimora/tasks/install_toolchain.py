"""Build llama.cpp's programs for this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from dimora.core.errors import BadRequest
from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms

RIGHT: Right = "administer"
_JOBS_LIMIT = 1024


class InstallToolchain(Request, frozen=True, kw_only=True, tag="install_toolchain"):
    """Answers with Progress; `jobs` compilers run at a time, 0 for as many as fit."""

    jobs: int = 0


async def run(request: InstallToolchain, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress events, then Done."""
    if not 0 <= request.jobs <= _JOBS_LIMIT:
        raise BadRequest(f"jobs must be between 0 and {_JOBS_LIMIT}", param="jobs")
    async with aclosing(rooms.models.install_toolchain(request.jobs)) as steps:
        async for progress in steps:
            yield progress
    yield Done(warnings=request.warnings)
