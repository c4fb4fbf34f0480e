"""Make another form of a model that an engine runs faster: exported and compressed for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from dimora.core.errors import BadRequest
from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms

RIGHT: Right = "manage"

_ENGINE = "openvino"


class OptimizeModel(Request, frozen=True, kw_only=True, tag="optimize_model"):
    """Makes `model` of `source`. `bits` of a weight are 4 or 8; `group` weights share a scale,
    0 for the usual number."""

    source: str
    engine: str = _ENGINE
    bits: int = 8
    group: int = 0


async def run(request: OptimizeModel, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress events, then Done."""
    if request.engine != _ENGINE:
        raise BadRequest(
            f"models are not optimized for the engine {request.engine[:40]!r}",
            hint=f"--engine {_ENGINE}; for llama_cpp there is `dimora quantize`",
            param="engine",
        )
    warnings: list[str] = []
    steps = rooms.models.optimize(
        request.model, request.source, request.bits, request.group, warnings
    )
    async with aclosing(steps):
        async for progress in steps:
            yield progress
    yield Done(warnings=(*request.warnings, *warnings))
