"""Load a model before it is needed, keep it longer, or let go of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dimora.core.types import Event, Request, Usage
from dimora.tasks.base import Right, Rooms
from dimora.tasks.generation import GenerationDone
from dimora.tasks.options import Options

RIGHT: Right = "use"


class HoldModel(Request, frozen=True, kw_only=True, tag="hold_model"):
    """`keep_alive` 0 unloads, else loads. Ends in a GenerationDone with reason load or unload."""

    keep_alive: float | None = None
    options: Options = Options()


async def run(request: HoldModel, rooms: Rooms) -> AsyncIterator[Event]:
    """GenerationDone alone."""
    model = rooms.models.find(request.model)
    if request.keep_alive == 0:
        await rooms.unload(model)
        yield GenerationDone(reason="unload", warnings=request.warnings)
        return
    options = request.options.over(model.options)
    async with rooms.reserve(model, options, keep_alive=request.keep_alive) as reservation:
        async for place in reservation.wait():
            yield place
        usage = Usage(load_seconds=reservation.loan.load_seconds)
    yield GenerationDone(reason="load", usage=usage, warnings=request.warnings)
