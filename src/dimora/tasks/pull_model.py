"""Fetch a model into the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from dimora.core.errors import BadRequest
from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms

RIGHT: Right = "manage"


class PullModel(Request, frozen=True, kw_only=True, tag="pull_model"):
    """Answers with Progress events; their status words are Ollama's.

    With `accepts_licence` the caller agrees to the licence the catalogue names for the model.
    """

    insecure: bool = False
    accepts_licence: bool = False


async def run(request: PullModel, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress events, then Done."""
    if not request.model:
        raise BadRequest("model is required", param="model")
    steps = rooms.models.pull(
        request.model, insecure=request.insecure, accepts_licence=request.accepts_licence
    )
    async with aclosing(steps):
        async for progress in steps:
            yield progress
    yield Done(warnings=request.warnings)
