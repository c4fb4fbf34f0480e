"""Measure how fast the engines here run a model, and let the figures decide which one does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms
from dimora.tasks.profile import Benched, BenchWish

# It takes the machine for a minute, and may decide for everybody.
RIGHT: Right = "manage"


class BenchModel(Request, frozen=True, kw_only=True, tag="bench_model"):
    wish: BenchWish = BenchWish()


class ModelBenched(Event, frozen=True, kw_only=True, tag="model_benched"):
    benched: Benched


async def run(request: BenchModel, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress and places in a queue, a ModelBenched, then Done."""
    model = rooms.models.find(request.model)
    async with aclosing(rooms.bench(model, request.wish)) as steps:
        async for step in steps:
            yield ModelBenched(benched=step) if isinstance(step, Benched) else step
    yield Done(warnings=request.warnings)
