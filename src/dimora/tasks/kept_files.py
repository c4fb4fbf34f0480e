"""Files that clients sent, to be put into collections later: documents of a hidden collection.

Not a task itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from dimora.core.errors import Conflict, NotFound
from dimora.tasks.base import Rooms
from dimora.tasks.knowing import KnownDocument
from dimora.tasks.retrieving import collection_or_none

FILES = "files that were sent"


def kept_name(id_: str, name: str) -> str:
    """Two files may have one name, and are told apart by their ids."""
    return f"{id_}/{name}"


def name_of(document: KnownDocument) -> str:
    """The name a file was sent by."""
    return document.name.removeprefix(f"{document.id}/")


async def files_embedder(rooms: Rooms) -> str:
    """What embeds the files that are kept, whatever the settings say by now; that of the settings
    before there are any."""
    there = await collection_or_none(rooms, FILES)
    return there.embedder if there else rooms.default_embedder


async def kept_files(rooms: Rooms, ids: Sequence[str], embedder: str) -> list[KnownDocument]:
    """Files that can be put into a collection with this embedder, which all of them have to be
    before the first is. Raises NotFound, Conflict."""
    found = []
    for id_ in dict.fromkeys(ids):
        try:
            kept = await rooms.knowledge.document(FILES, id_)
        except NotFound:
            raise NotFound(f"there is no file {id_!r}", code="file_not_found") from None
        if kept.error:
            raise Conflict(f"this file could not be read: {kept.error}", code="unreadable_document")
        found.append(kept)
    if found and await files_embedder(rooms) != embedder:
        raise Conflict(
            "the files were kept with another embedding model than the collection's",
            hint="add the documents themselves to the collection",
            code="wrong_embedder",
        )
    return found


async def copy_kept(rooms: Rooms, kept: KnownDocument, collection: str) -> KnownDocument:
    """Put a kept file into a collection, beside another of its name. Raises NotFound, Conflict."""
    there = await known_by_id(rooms, collection, kept.id)
    if there is not None:
        return there
    try:
        return await rooms.knowledge.copy(FILES, kept.id, collection, name_of(kept))
    except Conflict as why:
        if why.code != "document_exists":
            raise
        return await rooms.knowledge.copy(FILES, kept.id, collection, kept.name)


async def known_by_id(rooms: Rooms, collection: str, id_: str) -> KnownDocument | None:
    """A document that has this id, not only this name."""
    try:
        found = await rooms.knowledge.document(collection, id_)
    except NotFound:
        return None
    return found if found.id == id_ else None
