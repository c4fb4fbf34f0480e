"""Files become what a collection knows: read, cut, embedded, kept, one after the other.

Shared by what adds documents and by models that bring their own. Not a task itself.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import msgspec

from dimora.core.errors import BadRequest, NotFound
from dimora.core.types import Progress
from dimora.tasks.base import Rooms
from dimora.tasks.embedding import Embedder
from dimora.tasks.knowing import Collection, Ingested, KnownDocument, Offered, Piece, weights_of

# Enough for a thought, and few enough that several fit into any window.
PIECE_TOKENS = 220
# Pieces that are embedded at a time: progress is told between, and others get their turn.
_BATCH = 32


async def ingest(
    rooms: Rooms,
    collection: Collection,
    offers: AsyncIterator[Offered],
    embedder: Embedder,
    *,
    total_bytes: int = 0,
    piece_tokens: int = PIECE_TOKENS,
    id_: str = "",
) -> AsyncGenerator[Progress | Ingested, None]:
    """Progress, and one Ingested for each file, which is read whether it is known or not. One that
    cannot be read is kept with its error and stops nothing. `id_` is the id of the one document,
    where it has to have this one."""
    done_bytes = 0
    async for offered in offers:
        progress = Progress(
            status="reading documents", total_bytes=total_bytes, completed_bytes=done_bytes
        )
        yield progress
        steps = _take_in(rooms, collection, offered, embedder, piece_tokens, id_)
        async with aclosing(steps):
            async for step in steps:
                if isinstance(step, Ingested):
                    yield step
                else:
                    part = done_bytes + int(step * offered.size_bytes)
                    yield msgspec.structs.replace(progress, completed_bytes=part)
        done_bytes += offered.size_bytes
    total_bytes = total_bytes or done_bytes
    yield Progress(status="reading documents", total_bytes=total_bytes, completed_bytes=total_bytes)


async def _take_in(
    rooms: Rooms,
    collection: Collection,
    offered: Offered,
    embedder: Embedder,
    piece_tokens: int,
    id_: str,
) -> AsyncGenerator[float | Ingested, None]:
    """The share of it that is done; then the document."""
    before = await _known_before(rooms, collection, offered.name)
    try:
        document, pieces = await _read(rooms, offered, embedder, piece_tokens)
    except (BadRequest, NotFound) as why:
        failed = KnownDocument(
            id=id_,
            name=offered.name,
            digest=offered.digest,
            size_bytes=offered.size_bytes,
            modified_at=offered.modified_at,
            error=why.text,
        )
        kept = await rooms.knowledge.put(collection.name, failed, (), ())
        yield Ingested(document=kept, became="failed")
        return
    vectors: list[tuple[float, ...]] = []
    for start in range(0, len(pieces), _BATCH):
        if start:
            yield start / len(pieces)
        part = pieces[start : start + _BATCH]
        vectors += await embedder.vectors([piece.words for piece in part], "passage")
    document = msgspec.structs.replace(document, id=id_)
    weights = weights_of(embedder.model)
    kept = await rooms.knowledge.put(collection.name, document, pieces, vectors, weights)
    yield Ingested(document=kept, became="replaced" if before else "added")


async def _read(
    rooms: Rooms, offered: Offered, embedder: Embedder, piece_tokens: int
) -> tuple[KnownDocument, list[Piece]]:
    """Raises BadRequest, NotFound."""
    document: KnownDocument | None = None
    pieces: list[Piece] = []
    async with aclosing(rooms.knowledge.pieces(offered, embedder.count, piece_tokens)) as told:
        async for one in told:
            if isinstance(one, KnownDocument):
                document = one
            else:
                pieces.append(one)
    if document is None or not pieces:
        raise BadRequest(
            "there is no text in it",
            hint='scanned pages are read with the extra "ocr"',
            code="empty_document",
        )
    return document, pieces


async def _known_before(rooms: Rooms, collection: Collection, name: str) -> bool:
    try:
        return not (await rooms.knowledge.document(collection.name, name)).error
    except NotFound:
        return False
