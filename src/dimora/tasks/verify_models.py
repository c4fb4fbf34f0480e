"""Look whether every model is what its manifest says, to the last byte."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from dimora.core.types import Done, Event, Progress, Request
from dimora.tasks.base import Right, Rooms
from dimora.tasks.keeping import Fault, StoreTold

RIGHT: Right = "manage"


class VerifyModels(Request, frozen=True, kw_only=True, tag="verify_models"):
    """`names` of models, none for the whole store. `repair` mends what can be mended."""

    names: tuple[str, ...] = ()
    repair: bool = False


class FaultFound(Event, frozen=True, kw_only=True, tag="fault_found"):
    fault: Fault


class ModelsVerified(Event, frozen=True, kw_only=True, tag="models_verified"):
    """How much was looked at."""

    told: StoreTold


async def run(request: VerifyModels, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress events, a FaultFound for each fault, ModelsVerified, Done."""
    async with aclosing(rooms.models.verify(request.names, repair=request.repair)) as steps:
        async for step in steps:
            if isinstance(step, Progress):
                yield step
            elif isinstance(step, Fault):
                yield FaultFound(fault=step)
            else:
                yield ModelsVerified(told=step)
    yield Done(warnings=request.warnings)
