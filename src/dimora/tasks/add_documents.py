"""Take documents into a collection: files and folders of this machine, or one that is sent."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import PurePath

from dimora.core.errors import BadRequest
from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms
from dimora.tasks.embedding import Embedder
from dimora.tasks.ingesting import PIECE_TOKENS, ingest
from dimora.tasks.knowing import Collection, Ingested, Offered
from dimora.tasks.retrieving import DEFAULT_COLLECTION, collection_or_none

RIGHT: Right = "manage"


class AddDocuments(Request, frozen=True, kw_only=True, tag="add_documents"):
    """`model` embeds; empty means the collection's, or that of the settings for a new one.

    `paths` may be named at the terminal alone; without paths and `data` the folders that the
    collection has are read anew. `data` is a file that is sent, of this `name`; where it is None
    and there is a name, the request's content is the file. With `keep_folders` the folders among
    the paths are read anew the next time. `piece_tokens` is what a passage has at most.
    """

    collection: str = DEFAULT_COLLECTION
    paths: tuple[str, ...] = ()
    name: str = ""
    data: bytes | None = None
    keep_folders: bool = True
    piece_tokens: int = PIECE_TOKENS


class DocumentsAdded(Done, frozen=True, kw_only=True, tag="documents_added"):
    """`collection` as it is now."""

    collection: Collection


async def run(request: AddDocuments, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress and an Ingested for each file, then DocumentsAdded."""
    if not 32 <= request.piece_tokens <= 2048:
        raise BadRequest("a passage has 32 to 2048 tokens", param="piece_tokens")
    there = await collection_or_none(rooms, request.collection)
    offers, folders = await _offers(request, rooms, there)
    name = request.model or (there.embedder if there else rooms.default_embedder)
    # Asked for first: where no model is, no collection should be left behind.
    embedder = Embedder(name, rooms, batch=True)
    async with embedder:
        async for place in embedder.wait():
            yield place
        collection = there or await rooms.knowledge.make_collection(request.collection, name)
        if there and there.embedder != name:
            collection = await rooms.knowledge.make_collection(request.collection, name)
        steps = ingest(
            rooms,
            collection,
            _each(offers),
            embedder,
            total_bytes=sum(each.size_bytes for each in offers),
            piece_tokens=request.piece_tokens,
        )
        async with aclosing(steps):
            async for step in steps:
                yield step
        async with aclosing(_forget(rooms, collection, offers, folders)) as gone:
            async for document in gone:
                yield document
        if request.keep_folders and folders:
            kept = tuple(dict.fromkeys((*collection.folders, *folders)))
            await rooms.knowledge.change_collection(collection.name, folders=kept)
        usage = embedder.usage()
    yield DocumentsAdded(
        collection=await rooms.knowledge.collection(collection.name),
        usage=usage,
        warnings=(*request.warnings, *(() if offers else ("there is no file to read",))),
    )


async def _offers(
    request: AddDocuments, rooms: Rooms, there: Collection | None
) -> tuple[list[Offered], list[str]]:
    """The files, and the folders they were found in."""
    if request.name:
        data = request.data if request.data is not None else await _content(rooms)
        return [Offered(name=request.name, data=data, size_bytes=len(data), modified_at=0.0)], []
    paths = request.paths or (there.folders if there else ())
    if not paths:
        raise BadRequest("there is nothing to add", hint="name files or folders", param="paths")
    offers = await rooms.knowledge.offers(paths)
    return offers, list(dict.fromkeys(each.folder for each in offers if each.folder))


async def _content(rooms: Rooms) -> bytes:
    if rooms.content is None:
        raise BadRequest("there is no file in the request", param="file")
    return b"".join([part async for part in rooms.content])


async def _each(offers: Sequence[Offered]) -> AsyncIterator[Offered]:
    for offered in offers:
        yield offered


async def _forget(
    rooms: Rooms, collection: Collection, offers: Sequence[Offered], folders: Sequence[str]
) -> AsyncGenerator[Ingested, None]:
    """What was known of these folders and is not in them any more."""
    there = {each.name for each in offers}
    tops = tuple(f"{PurePath(folder).name}/" for folder in folders)
    for document in await rooms.knowledge.documents(collection.name):
        if tops and document.name.startswith(tops) and document.name not in there:
            removed = await rooms.knowledge.remove(collection.name, document.id)
            yield Ingested(document=removed, became="removed")
