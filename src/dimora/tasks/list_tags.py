"""List the tags of one model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms

RIGHT: Right = "read"


class ListTags(Request, frozen=True, kw_only=True, tag="list_tags"):
    """`model` is a name without its tag."""


class TagsFound(Event, frozen=True, kw_only=True, tag="tags_found"):
    """Sorted."""

    tags: tuple[str, ...]


async def run(request: ListTags, rooms: Rooms) -> AsyncIterator[Event]:
    """TagsFound, then Done. Raises NotFound."""
    tags = await asyncio.to_thread(rooms.models.tags, request.model)
    yield TagsFound(tags=tuple(tags))
    yield Done(warnings=request.warnings)
