"""Find passages in documents, by meaning and by word."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from dimora.core.errors import BadRequest
from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms
from dimora.tasks.embedding import Embedder
from dimora.tasks.knowing import Filters, Passage
from dimora.tasks.retrieving import Found, Wish, reordered, retrieve, searched

RIGHT: Right = "use"
_MOST = 100


class SearchDocuments(Request, frozen=True, kw_only=True, tag="search_documents"):
    """`collections` empty means the default one; all have to have one embedder. `neighbours` is
    how many passages before and after each come with it. `rerank` is a model that orders what was
    found anew: an embedding model, or a chat model, which is asked of each passage."""

    question: str
    collections: tuple[str, ...] = ()
    filters: Filters = Filters()
    limit: int = 8
    neighbours: int = 0
    rerank: str = ""


class PassagesFound(Event, frozen=True, kw_only=True, tag="passages_found"):
    """Best first. `is_enough`: they would be answered from; else they are only the nearest.
    `around` has the text of each with its neighbours, where these were asked for."""

    passages: tuple[Passage, ...]
    is_enough: bool
    around: tuple[str, ...] = ()


async def run(request: SearchDocuments, rooms: Rooms) -> AsyncIterator[Event]:
    """One PassagesFound, then Done. Raises NotFound, BadRequest."""
    if not request.question.strip():
        raise BadRequest("there is nothing to search for", param="question")
    if not 1 <= request.limit <= _MOST or not 0 <= request.neighbours <= 10:
        raise BadRequest(f"1 to {_MOST} passages, with 10 neighbours at most", param="limit")
    wish = Wish(
        question=request.question,
        collections=request.collections,
        filters=request.filters,
        limit=request.limit,
        rerank=request.rerank,
    )
    collections = await searched(rooms, wish)
    embedder = Embedder(collections[0].embedder, rooms, batch=request.batch)
    async with embedder:
        async for place in embedder.wait():
            yield place
        found = await retrieve(rooms, wish, collections, embedder)
        usage = embedder.usage()
    if wish.rerank:
        async with aclosing(reordered(rooms, wish, found, batch=request.batch)) as steps:
            async for step in steps:
                if isinstance(step, Found):
                    found = step
                else:
                    yield step
    around = []
    if request.neighbours:
        for passage in found.nearest:
            near = await rooms.knowledge.around(passage, request.neighbours, request.neighbours)
            pieces = sorted((*near, passage.piece), key=lambda piece: piece.number)
            around.append("\n\n".join(piece.text for piece in pieces))
    yield PassagesFound(
        passages=found.nearest, is_enough=found.evidence.is_enough, around=tuple(around)
    )
    yield Done(usage=usage, warnings=request.warnings)
