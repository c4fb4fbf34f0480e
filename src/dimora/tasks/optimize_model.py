"""Make another form of a model that an engine runs faster: exported and compressed for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from dimora.core.errors import BadRequest
from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms

RIGHT: Right = "manage"

_BITS = (4, 8, 16)


class OptimizeModel(Request, frozen=True, kw_only=True, tag="optimize_model"):
    """Makes `model` of `source`. `bits` of a weight: 4, 8 or 16; `group` weights share a scale,
    0 for a whole row (4 bits: 128)."""

    source: str
    engine: str = "openvino"
    bits: int = 8
    group: int = 0


async def run(request: OptimizeModel, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress events, then Done."""
    if request.engine != "openvino":
        raise BadRequest(
            f"models are not optimized for {request.engine!r}",
            hint="--engine openvino; for llama_cpp see `dimora quantize`",
            param="engine",
        )
    if request.bits not in _BITS:
        raise BadRequest(f"a weight has 4, 8 or 16 bits, not {request.bits}", param="bits")
    group = request.group or (128 if request.bits == 4 else -1)
    if group != -1 and not 8 <= group <= 4096:
        raise BadRequest(f"a group of {group} weights is none", hint="32 to 128 is usual")
    steps = rooms.models.optimize(request.model, request.source, request.bits, group)
    async with aclosing(steps):
        async for progress in steps:
            yield progress
    yield Done(warnings=request.warnings)
