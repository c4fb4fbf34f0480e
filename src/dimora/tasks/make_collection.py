"""Make an empty collection of documents."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms
from dimora.tasks.kept_files import copy_kept, files_embedder, kept_files
from dimora.tasks.show_collection import CollectionTold
from dimora.tasks.writing import require

RIGHT: Right = "manage"


class MakeCollection(Request, frozen=True, kw_only=True, tag="make_collection"):
    """`model` embeds its documents; empty means that of the files that are kept, or of the
    settings. One that is there already is left as it is. `documents` are ids of files that were
    kept, to be put in at once."""

    collection: str
    about: str = ""
    documents: tuple[str, ...] = ()


async def run(request: MakeCollection, rooms: Rooms) -> AsyncIterator[Event]:
    """One CollectionTold, then Done. Raises NotFound, BadRequest, Conflict, before anything is
    made."""
    name = request.model or await files_embedder(rooms)
    model = rooms.models.find(name)
    require(model, "embedding", "embedding")
    name = model.name if request.model else name
    documents = await kept_files(rooms, request.documents, name)
    made = await rooms.knowledge.make_collection(request.collection, name)
    for document in documents:
        await copy_kept(rooms, document, made.name)
    if request.about:
        made = await rooms.knowledge.change_collection(made.name, about=request.about)
    if request.documents:
        made = await rooms.knowledge.collection(made.name)
    yield CollectionTold(collection=made, documents=())
    yield Done(warnings=request.warnings)
