"""Turn text into a model's token ids."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms
from dimora.tasks.options import Options

RIGHT: Right = "use"


class Tokenize(Request, frozen=True, kw_only=True, tag="tokenize"):
    """`add_special` adds what the tokenizer puts around every prompt."""

    text: str
    add_special: bool = True
    keep_alive: float | None = None


class Tokens(Event, frozen=True, kw_only=True, tag="tokens"):
    tokens: tuple[int, ...]


async def run(request: Tokenize, rooms: Rooms) -> AsyncIterator[Event]:
    """Tokens, then Done."""
    model = rooms.models.find(request.model)
    async with rooms.reserve(
        model, Options().over(model.options), keep_alive=request.keep_alive, batch=request.batch
    ) as reservation:
        async for place in reservation.wait():
            yield place
        loan = reservation.loan
        yield Tokens(
            tokens=tuple(await loan.tokenize(request.text, add_special=request.add_special))
        )
    yield Done(warnings=request.warnings)
