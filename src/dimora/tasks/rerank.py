"""Order texts by how well they answer a question."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dimora.core.errors import BadRequest
from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms
from dimora.tasks.embedding import Embedder

RIGHT: Right = "use"
_MOST = 1000


class Rerank(Request, frozen=True, kw_only=True, tag="rerank"):
    """`model` is an embedding model. `top` 0 is all."""

    question: str
    texts: tuple[str, ...]
    top: int = 0
    keep_alive: float | None = None


class Reranked(Event, frozen=True, kw_only=True, tag="reranked"):
    """Positions of the texts, best first, with their scores: cosines, from -1 to 1."""

    order: tuple[tuple[int, float], ...]


async def run(request: Rerank, rooms: Rooms) -> AsyncIterator[Event]:
    """One Reranked, then Done."""
    if not request.question.strip():
        raise BadRequest("there is no query", param="query")
    if not 1 <= len(request.texts) <= _MOST:
        raise BadRequest(f"1 to {_MOST} documents are ordered", param="documents")
    if request.top < 0:
        raise BadRequest("top_n must not be negative", param="top_n")
    embedder = Embedder(request.model, rooms, batch=request.batch, keep_alive=request.keep_alive)
    async with embedder:
        async for place in embedder.wait():
            yield place
        (asked,) = await embedder.vectors([request.question], "query")
        vectors = await embedder.vectors(request.texts, "passage")
        usage = embedder.usage()
    scores = [sum(a * b for a, b in zip(asked, vector, strict=True)) for vector in vectors]
    order = sorted(enumerate(scores), key=lambda one: (-one[1], one[0]))
    yield Reranked(order=tuple(order[: request.top or len(order)]))
    yield Done(usage=usage, warnings=request.warnings)
