"""Read a file that is sent, and keep what is known of it until it is put into a collection."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing

import msgspec

from dimora.core.errors import BadRequest, InternalError
from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms
from dimora.tasks.embedding import Embedder
from dimora.tasks.ingesting import ingest
from dimora.tasks.kept_files import FILES, files_embedder, kept_name
from dimora.tasks.knowing import Ingested, KnownDocument, Offered

RIGHT: Right = "manage"
_NAME_CHARACTERS = 255


class KeepFile(Request, frozen=True, kw_only=True, tag="keep_file"):
    """`model` embeds; empty means that of the files that are kept, or of the settings."""

    name: str
    data: bytes


class FileKept(Event, frozen=True, kw_only=True, tag="file_kept"):
    """Its `error` says why nothing is known of it."""

    document: KnownDocument


async def run(request: KeepFile, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress, FileKept, then Done. Raises NotFound where the embedding model is not here."""
    name = request.name.replace("\\", "/").rpartition("/")[2][-_NAME_CHARACTERS:]
    if not name or not request.data:
        raise BadRequest("the file has no name, or nothing in it", param="file")
    id_ = f"file-{secrets.token_hex(12)}"
    found: KnownDocument | None = None
    model = request.model or await files_embedder(rooms)
    embedder = Embedder(model, rooms)
    async with embedder:
        async for place in embedder.wait():
            yield place
        collection = await rooms.knowledge.make_collection(FILES, model, hidden=True)
        offered = Offered(
            name=kept_name(id_, name), data=request.data, size_bytes=len(request.data)
        )
        steps = ingest(rooms, collection, _one(offered), embedder, id_=id_)
        async with aclosing(steps):
            async for step in steps:
                if isinstance(step, Ingested):
                    found = step.document
                else:
                    yield step
        usage = embedder.usage()
    if found is None:
        raise InternalError("the file was not taken in")
    yield FileKept(document=msgspec.structs.replace(found, id=id_))
    yield Done(usage=usage, warnings=request.warnings)


async def _one(offered: Offered) -> AsyncIterator[Offered]:
    yield offered
