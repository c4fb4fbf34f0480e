"""Send a model to the registry its name says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from dimora.core.errors import BadRequest
from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms

RIGHT: Right = "administer"


class PushModel(Request, frozen=True, kw_only=True, tag="push_model"):
    """Answers with Progress events; their status words are Ollama's."""

    insecure: bool = False


async def run(request: PushModel, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress events, then Done."""
    if not request.model:
        raise BadRequest("model is required", param="model")
    steps = rooms.models.push(request.model, insecure=request.insecure)
    async with aclosing(steps):
        async for progress in steps:
            yield progress
    yield Done(warnings=request.warnings)
