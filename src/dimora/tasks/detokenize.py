"""Turn token ids back into text."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms
from dimora.tasks.options import Options

RIGHT: Right = "use"


class Detokenize(Request, frozen=True, kw_only=True, tag="detokenize"):
    tokens: tuple[int, ...]
    keep_alive: float | None = None


class Detokenized(Event, frozen=True, kw_only=True, tag="detokenized"):
    text: str


async def run(request: Detokenize, rooms: Rooms) -> AsyncIterator[Event]:
    """Detokenized, then Done."""
    model = rooms.models.find(request.model)
    async with rooms.reserve(
        model, Options().over(model.options), keep_alive=request.keep_alive, batch=request.batch
    ) as reservation:
        async for place in reservation.wait():
            yield place
        loan = reservation.loan
        yield Detokenized(text=await loan.detokenize(request.tokens))
    yield Done(warnings=request.warnings)
