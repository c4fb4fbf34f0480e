"""Take documents into a collection: files and folders of this machine, or one that is sent."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import PurePath

from dimora.core.errors import BadRequest, Conflict, NotFound
from dimora.core.types import Done, Event, Request, Usage
from dimora.tasks.base import Right, Rooms
from dimora.tasks.embedding import Embedder
from dimora.tasks.ingesting import PIECE_TOKENS, ingest
from dimora.tasks.knowing import Collection, Ingested, KnownDocument, Offered, gone_from
from dimora.tasks.retrieving import DEFAULT_COLLECTION, collection_or_none

RIGHT: Right = "manage"

# A share that is away may have thousands of files.
_WARNINGS = 5


class AddDocuments(Request, frozen=True, kw_only=True, tag="add_documents"):
    """`model` embeds; empty means the collection's, or that of the settings for a new one.

    `paths` may be named at the terminal alone; without paths and `data` the folders that the
    collection has are read anew, and of one that is not there nothing is forgotten. `data` is a
    file that is sent, of this `name`; where it is None and there is a name, the request's content
    is the file. With `keep_folders` the folders among the paths are read anew the next time.
    `piece_tokens` is what a passage has at most. Files that could not be read are tried again,
    unless `retry` is false and they are unchanged. `modified_at` is the time of a file that is
    sent.
    """

    collection: str = DEFAULT_COLLECTION
    paths: tuple[str, ...] = ()
    name: str = ""
    data: bytes | None = None
    modified_at: float = 0.0
    keep_folders: bool = True
    piece_tokens: int = PIECE_TOKENS
    retry: bool = True


class DocumentsAdded(Done, frozen=True, kw_only=True, tag="documents_added"):
    """`collection` as it is now."""

    collection: Collection


async def run(request: AddDocuments, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress and an Ingested for each file, then DocumentsAdded."""
    if not 32 <= request.piece_tokens <= 2048:
        raise BadRequest("a passage has 32 to 2048 tokens", param="piece_tokens")
    there = await collection_or_none(rooms, request.collection)
    offers, folders, warnings = await _offers(request, rooms, there)
    new = files = [each for each in offers if not each.error]
    if there:
        if request.model:
            # Refused where it was made with another one.
            await rooms.knowledge.make_collection(there.name, request.model)
        known, new = await _known_and_new(rooms, there, files, retry=request.retry)
        if request.keep_folders:
            await _refuse_others(rooms, there, folders, known)
        for document in known:
            yield Ingested(document=document, became="unchanged")
    usage = Usage()
    if new or not there:
        name = request.model or (there.embedder if there else rooms.default_embedder)
        # Asked for first: where no model is, no collection should be left behind.
        async with Embedder(name, rooms, batch=True) as embedder:
            async for place in embedder.wait():
                yield place
            there = there or await rooms.knowledge.make_collection(request.collection, name)
            await _keep_folders(request, rooms, there, folders)
            steps = ingest(
                rooms,
                there,
                _each(new),
                embedder,
                total_bytes=sum(each.size_bytes for each in new),
                piece_tokens=request.piece_tokens,
            )
            async with aclosing(steps):
                async for step in steps:
                    yield step
            usage = embedder.usage()
    else:
        await _keep_folders(request, rooms, there, folders)
    async with aclosing(_forget(rooms, there, offers, folders)) as gone:
        async for removed in gone:
            yield removed
    yield DocumentsAdded(
        collection=await rooms.knowledge.collection(there.name),
        usage=usage,
        warnings=(
            *request.warnings,
            *warnings,
            *_some([each.warning for each in offers if each.error]),
            *(() if files else ("there is no file to read",)),
        ),
    )


def _some(warnings: Sequence[str]) -> list[str]:
    more = len(warnings) - _WARNINGS
    return [*warnings[:_WARNINGS], *([f"and {more} places more"] if more > 0 else [])]


async def _keep_folders(
    request: AddDocuments, rooms: Rooms, collection: Collection, folders: Sequence[str]
) -> None:
    """Raises Conflict for two of one name, before anything is read."""
    kept = tuple(dict.fromkeys((*collection.folders, *folders)))
    if request.keep_folders and kept != collection.folders:
        await rooms.knowledge.change_collection(collection.name, folders=kept)


async def _refuse_others(
    rooms: Rooms, collection: Collection, folders: Sequence[str], unchanged: Sequence[KnownDocument]
) -> None:
    """Raises Conflict for a folder that is not kept yet, where documents are known below its name
    that are not its own: a server was sent them from another one."""
    kept = {PurePath(folder).name for folder in collection.folders}
    tops = {PurePath(folder).name for folder in folders} - kept
    own = {document.id for document in unchanged}
    for document in await rooms.knowledge.documents(collection.name) if tops else ():
        top, slash, _ = document.name.partition("/")
        if slash and top in tops and not document.error and document.id not in own:
            raise Conflict(
                f"the collection has documents below {f'{top}/'!r} that are not of this folder",
                hint=f"make another collection for it, or `dimora knowledge remove {top}/` first",
            )


async def _offers(
    request: AddDocuments, rooms: Rooms, there: Collection | None
) -> tuple[list[Offered], list[str], list[str]]:
    """The files, the folders they were found in, and warnings."""
    if request.name:
        data = request.data if request.data is not None else await _content(rooms)
        sent = Offered(
            name=request.name, data=data, size_bytes=len(data), modified_at=request.modified_at
        )
        return [sent], [], []
    kept = there.folders if there else ()
    warnings: list[str] = []
    paths: Sequence[str] = request.paths or kept
    if not paths:
        raise BadRequest("there is nothing to add", hint="name files or folders", param="paths")
    if request.paths:
        offers = await rooms.knowledge.offers(paths)
    else:
        offers, paths, warnings = await _offers_of_kept(rooms, kept)
    folders = [each.folder for each in offers if each.folder]
    # A folder that was emptied offers nothing, and is known all the same.
    named = {str(PurePath(path)) for path in paths}
    folders += [folder for folder in kept if folder in named]
    return offers, list(dict.fromkeys(folders)), warnings


async def _offers_of_kept(
    rooms: Rooms, kept: Sequence[str]
) -> tuple[list[Offered], list[str], list[str]]:
    """The files of those folders that are there, these folders, and what to say of the others."""
    found: dict[str, Offered] = {}
    there: list[str] = []
    warnings: list[str] = []
    for folder in kept:
        try:
            offers = await rooms.knowledge.offers([folder])
        except NotFound:
            # Or its path is no UTF-8, and has to be named each time.
            warnings.append(
                f"the folder {folder!r} is not there, and what is known of it is kept:"
                f" `dimora knowledge remove {PurePath(folder).name}/` lets go of it"
            )
            continue
        there.append(folder)
        for each in offers:
            found.setdefault(each.name if each.error else each.path, each)
    return list(found.values()), there, warnings


async def _known_and_new(
    rooms: Rooms, collection: Collection, offers: Sequence[Offered], *, retry: bool
) -> tuple[list[KnownDocument], list[Offered]]:
    """What need not be read: unchanged documents and, without `retry`, unchanged failures."""
    failed = {}
    if not retry:
        told = await rooms.knowledge.documents(collection.name)
        failed = {each.name: each for each in told if each.error}
    known: list[KnownDocument] = []
    new: list[Offered] = []
    for offered in offers:
        try:
            document = await rooms.knowledge.is_known(collection.name, offered)
        except (BadRequest, NotFound):
            # It is locked, or gone by now: what reads it tells that of this one file.
            document = None
        before = failed.get(offered.name)
        if before and (before.size_bytes, before.modified_at) == (
            offered.size_bytes,
            offered.modified_at,
        ):
            document = before
        if document is None:
            new.append(offered)
        else:
            known.append(document)
    return known, new


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
    """What was known of these folders and is not in them any more. Below the name of one that is
    not kept may be what was sent from another."""
    kept = (await rooms.knowledge.collection(collection.name)).folders
    ours = [folder for folder in folders if folder in kept]
    for document in gone_from(ours, offers, await rooms.knowledge.documents(collection.name)):
        removed = await rooms.knowledge.remove(collection.name, document.id)
        yield Ingested(document=removed, became="removed")
