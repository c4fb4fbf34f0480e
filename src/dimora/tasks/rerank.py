"""Order texts by how well they answer a question."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from dimora.core.errors import BadRequest
from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms
from dimora.tasks.reranking import Scored, score_texts

RIGHT: Right = "use"


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
    if request.top < 0:
        raise BadRequest("top_n must not be negative", param="top_n")
    steps = score_texts(
        rooms,
        request.model,
        request.question,
        request.texts,
        keep_alive=request.keep_alive,
        batch=request.batch,
    )
    async with aclosing(steps):
        async for step in steps:
            if isinstance(step, Scored):
                order = sorted(enumerate(step.scores), key=lambda one: (-one[1], one[0]))
                yield Reranked(order=tuple(order[: request.top or len(order)]))
                yield Done(usage=step.usage, warnings=(*request.warnings, *step.warnings))
            else:
                yield step
