"""Give out everything that is known of a collection's documents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms
from dimora.tasks.knowing import KnownDocument, Piece
from dimora.tasks.retrieving import DEFAULT_COLLECTION

RIGHT: Right = "manage"


class ExportCollection(Request, frozen=True, kw_only=True, tag="export_collection"):
    collection: str = DEFAULT_COLLECTION


class Exported(Event, frozen=True, kw_only=True, tag="exported"):
    """A document, or a piece of the document before it."""

    document: KnownDocument | None = None
    piece: Piece | None = None


async def run(request: ExportCollection, rooms: Rooms) -> AsyncIterator[Event]:
    """Exported for every document by name, each before its pieces in order, then Done."""
    async with aclosing(rooms.knowledge.export(request.collection)) as told:
        async for one in told:
            if isinstance(one, Piece):
                yield Exported(piece=one)
            else:
                yield Exported(document=one)
    yield Done(warnings=request.warnings)
