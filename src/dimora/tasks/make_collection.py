"""Make an empty collection of documents."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms
from dimora.tasks.kept_files import copy_kept
from dimora.tasks.show_collection import CollectionTold
from dimora.tasks.writing import require

RIGHT: Right = "manage"


class MakeCollection(Request, frozen=True, kw_only=True, tag="make_collection"):
    """`model` embeds its documents; empty means that of the settings. One that is there already
    is left as it is. `documents` are ids of files that were kept, to be put in at once."""

    collection: str
    about: str = ""
    documents: tuple[str, ...] = ()


async def run(request: MakeCollection, rooms: Rooms) -> AsyncIterator[Event]:
    """One CollectionTold, then Done. Raises NotFound, BadRequest, Conflict."""
    model = rooms.models.find(request.model or rooms.default_embedder)
    require(model, "embedding", "embedding")
    name = request.model or rooms.default_embedder
    made = await rooms.knowledge.make_collection(request.collection, name)
    for document in request.documents:
        await copy_kept(rooms, document, made.name)
    if request.about:
        made = await rooms.knowledge.change_collection(made.name, about=request.about)
    if request.documents:
        made = await rooms.knowledge.collection(made.name)
    yield CollectionTold(collection=made, documents=())
    yield Done(warnings=request.warnings)
