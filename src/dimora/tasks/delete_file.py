"""Delete a file that was sent, and take it out of every collection it was put into."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dimora.core.errors import NotFound
from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms
from dimora.tasks.kept_files import FILES, known_by_id
from dimora.tasks.knowing import Ingested

RIGHT: Right = "manage"


class DeleteFile(Request, frozen=True, kw_only=True, tag="delete_file"):
    """`document` is the id of a kept file."""

    document: str


async def run(request: DeleteFile, rooms: Rooms) -> AsyncIterator[Event]:
    """One Ingested, then Done. Raises NotFound."""
    kept = await known_by_id(rooms, FILES, request.document)
    if kept is None:
        raise NotFound(f"there is no file {request.document!r}", code="file_not_found")
    collections = [each.name for each in await rooms.knowledge.collections()]
    # The file itself goes last: what ends half-way can be asked for again.
    for name in sorted(collections, key=lambda name: name == FILES):
        if await known_by_id(rooms, name, kept.id):
            await rooms.knowledge.remove(name, kept.id)
    yield Ingested(document=kept, became="removed")
    yield Done(warnings=request.warnings)
