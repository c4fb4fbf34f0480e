"""Remove documents from a collection, with everything that is known of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import PurePath

from dimora.core.errors import BadRequest
from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms
from dimora.tasks.knowing import Ingested
from dimora.tasks.retrieving import DEFAULT_COLLECTION

RIGHT: Right = "manage"


class RemoveDocuments(Request, frozen=True, kw_only=True, tag="remove_documents"):
    """`documents` are ids or names; `NAME/` is all that is below a folder of this name, which at
    the terminal is not read anew any more."""

    collection: str = DEFAULT_COLLECTION
    documents: tuple[str, ...]


async def run(request: RemoveDocuments, rooms: Rooms) -> AsyncIterator[Event]:
    """An Ingested for each, then Done. Raises NotFound, before anything is removed."""
    if not request.documents:
        raise BadRequest("there is nothing to remove", param="documents")
    collection = await rooms.knowledge.collection(request.collection)
    dropped = [one for one in collection.folders if f"{PurePath(one).name}/" in request.documents]
    names = {f"{PurePath(one).name}/" for one in dropped}
    known = await rooms.knowledge.documents(request.collection)
    ids: dict[str, None] = {}
    for asked in request.documents:
        below = [each.id for each in known if asked.endswith("/") and each.name.startswith(asked)]
        if below or asked in names:
            ids |= dict.fromkeys(below)
        else:
            ids[(await rooms.knowledge.document(request.collection, asked)).id] = None
    warnings = list(request.warnings)
    if dropped and rooms.principal.proof == "terminal":
        kept = tuple(one for one in collection.folders if one not in dropped)
        await rooms.knowledge.change_collection(collection.name, folders=kept)
    elif dropped:
        warnings.append(
            "a bare `dimora knowledge add` reads the folder anew: only the terminal without a"
            " server lets go of it"
        )
    for id_ in ids:
        removed = await rooms.knowledge.remove(request.collection, id_)
        yield Ingested(document=removed, became="removed")
    yield Done(warnings=tuple(warnings))
