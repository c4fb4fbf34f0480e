"""How well texts answer a question, by a model: an embedding model, or a chat model that is asked
of each. Shared by rerank and by searches that are ordered anew. Not a task itself.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import msgspec

from dimora.core.errors import BadRequest
from dimora.core.types import Queued, Usage
from dimora.tasks.base import Rooms
from dimora.tasks.embedding import Embedder

_MOST = 1000
# A chat model reads them one by one.
_MOST_JUDGED = 100


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """One score for each text: cosines, from -1 to 1; of a chat model probabilities."""

    scores: tuple[float, ...]
    usage: Usage
    warnings: tuple[str, ...] = ()


async def score_texts(
    rooms: Rooms,
    model: str,
    question: str,
    texts: Sequence[str],
    *,
    keep_alive: float | None = None,
    batch: bool = False,
) -> AsyncGenerator[Queued | Scored, None]:
    """Places in the queue, then one Scored. Raises NotFound, BadRequest for too many texts."""
    judged = not rooms.models.find(model).can("embedding")
    most = _MOST_JUDGED if judged else _MOST
    if not 1 <= len(texts) <= most:
        raise BadRequest(f"1 to {most} documents are ordered", param="documents")
    if judged:
        # Only this needs what it imports.
        from dimora.tasks.ready._desk import Desk
        from dimora.tasks.ready._relevance import probability_of_answer
        from dimora.tasks.ready.base import ReadyRequest

        work = ReadyRequest(model=model, keep_alive=keep_alive, batch=batch)
        async with Desk(work, rooms) as desk:
            async for place in desk.wait():
                yield place
            scores = [await probability_of_answer(desk, question, text) for text in texts]
            done = desk.done()
        yield Scored(scores=tuple(scores), usage=done.usage, warnings=done.warnings)
        return
    async with Embedder(model, rooms, batch=batch, keep_alive=keep_alive) as embedder:
        async for place in embedder.wait():
            yield place
        (asked,) = await embedder.vectors([question], "query")
        vectors = await embedder.vectors(texts, "passage")
        usage = embedder.usage()
    cosines = (sum(a * b for a, b in zip(asked, vector, strict=True)) for vector in vectors)
    yield Scored(scores=tuple(cosines), usage=usage)
