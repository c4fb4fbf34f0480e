"""Files that clients sent, to be put into collections later: documents of a hidden collection.

Not a task itself.
"""

from __future__ import annotations

from dimora.core.errors import Conflict, NotFound
from dimora.tasks.base import Rooms
from dimora.tasks.knowing import KnownDocument

FILES = "files that were sent"


def kept_name(id_: str, name: str) -> str:
    """Two files may have one name, and are told apart by their ids."""
    return f"{id_}/{name}"


def name_of(document: KnownDocument) -> str:
    """The name a file was sent by."""
    return document.name.removeprefix(f"{document.id}/")


async def copy_kept(rooms: Rooms, document: str, collection: str) -> KnownDocument:
    """Put a kept file into a collection. Raises NotFound, Conflict."""
    try:
        kept = await rooms.knowledge.document(FILES, document)
    except NotFound:
        raise NotFound(f"there is no file {document!r}", code="file_not_found") from None
    if kept.error:
        raise Conflict(f"this file could not be read: {kept.error}", code="unreadable_document")
    name = name_of(kept)
    for other in await rooms.knowledge.documents(collection):
        if other.id == kept.id:
            return other
        if other.name == name:
            name = kept.name
    return await rooms.knowledge.copy(FILES, kept.id, collection, name)
