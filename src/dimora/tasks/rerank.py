"""Order texts by how well they answer a question."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dimora.core.errors import BadRequest
from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms
from dimora.tasks.embedding import Embedder
from dimora.tasks.ready.base import ReadyRequest

RIGHT: Right = "use"
_MOST = 1000
# A chat model reads them one by one.
_MOST_JUDGED = 100


class Rerank(Request, frozen=True, kw_only=True, tag="rerank"):
    """`model` is an embedding model, or a chat model that is asked of each text whether it holds
    the answer. `top` 0 is all."""

    question: str
    texts: tuple[str, ...]
    top: int = 0
    keep_alive: float | None = None


class Reranked(Event, frozen=True, kw_only=True, tag="reranked"):
    """Positions of the texts, best first, with their scores: cosines, from -1 to 1; of a chat
    model probabilities."""

    order: tuple[tuple[int, float], ...]


async def run(request: Rerank, rooms: Rooms) -> AsyncIterator[Event]:
    """One Reranked, then Done."""
    if not request.question.strip():
        raise BadRequest("there is no query", param="query")
    judged = not rooms.models.find(request.model).can("embedding")
    most = _MOST_JUDGED if judged else _MOST
    if not 1 <= len(request.texts) <= most:
        raise BadRequest(f"1 to {most} documents are ordered", param="documents")
    if request.top < 0:
        raise BadRequest("top_n must not be negative", param="top_n")
    steps = _by_answering(request, rooms) if judged else _by_meaning(request, rooms)
    async for step in steps:
        yield step


async def _by_meaning(request: Rerank, rooms: Rooms) -> AsyncIterator[Event]:
    embedder = Embedder(request.model, rooms, batch=request.batch, keep_alive=request.keep_alive)
    async with embedder:
        async for place in embedder.wait():
            yield place
        (asked,) = await embedder.vectors([request.question], "query")
        vectors = await embedder.vectors(request.texts, "passage")
        usage = embedder.usage()
    yield _ordered(
        request, [sum(a * b for a, b in zip(asked, vector, strict=True)) for vector in vectors]
    )
    yield Done(usage=usage, warnings=request.warnings)


async def _by_answering(request: Rerank, rooms: Rooms) -> AsyncIterator[Event]:
    # Only this needs what it imports.
    from dimora.tasks.ready._desk import Desk
    from dimora.tasks.ready._relevance import probability_of_answer

    work = ReadyRequest(
        model=request.model,
        keep_alive=request.keep_alive,
        batch=request.batch,
        warnings=request.warnings,
    )
    async with Desk(work, rooms) as desk:
        async for place in desk.wait():
            yield place
        scores = [
            await probability_of_answer(desk, request.question, text) for text in request.texts
        ]
    yield _ordered(request, scores)
    yield desk.done()


def _ordered(request: Rerank, scores: list[float]) -> Reranked:
    order = sorted(enumerate(scores), key=lambda one: (-one[1], one[0]))
    return Reranked(order=tuple(order[: request.top or len(order)]))
