"""Turn texts into vectors."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence

from dimora.core.types import Done, Event, Request, Usage
from dimora.tasks.base import Embedded, Model, Right, Rooms, TextsToEmbed
from dimora.tasks.embedding import Role, finished, prepared
from dimora.tasks.options import Options
from dimora.tasks.writing import require, window_of

RIGHT: Right = "use"


class Embed(Request, frozen=True, kw_only=True, tag="embed"):
    """`dimensions` cuts and normalises again; 0 keeps all. `normalize` gives unit length.
    `role` puts the model's prefix for queries or passages before each text.
    """

    texts: tuple[str, ...]
    truncate: bool = True
    dimensions: int = 0
    normalize: bool = True
    role: Role = ""
    keep_alive: float | None = None
    options: Options = Options()


class Vectors(Event, frozen=True, kw_only=True, tag="vectors"):
    """One vector per text, in their order."""

    vectors: tuple[tuple[float, ...], ...]


class EmbedDone(Done, frozen=True, kw_only=True, tag="embed_done"):
    """`truncated_texts`: the positions of texts that were cut to the window."""

    truncated_texts: tuple[int, ...] = ()


async def run(request: Embed, rooms: Rooms) -> AsyncIterator[Event]:
    """Vectors, then EmbedDone."""
    started = time.monotonic()
    model = rooms.models.find(request.model)
    require(model, "embedding", "embedding")
    options = request.options.over(model.options)
    async with rooms.reserve(
        model, options, keep_alive=request.keep_alive, batch=request.batch
    ) as reservation:
        async for place in reservation.wait():
            yield place
        loan = reservation.loan
        texts = tuple(prepared(text, model.embedding, request.role) for text in request.texts)
        wanted = TextsToEmbed(
            texts=texts, window=window_of(loan, options), truncate=request.truncate
        )
        embedded = await loan.embed(wanted) if texts else Embedded(vectors=(), tokens=0)
        yield Vectors(
            vectors=tuple(
                finished(each, dimensions=request.dimensions, normalize=request.normalize)
                for each in embedded.vectors
            )
        )
        yield EmbedDone(
            usage=Usage(
                prompt_tokens=embedded.tokens,
                load_seconds=loan.load_seconds,
                queue_seconds=loan.queue_seconds,
                total_seconds=time.monotonic() - started,
            ),
            warnings=(*request.warnings, *_warnings(model, request, embedded.cut)),
            truncated_texts=embedded.cut,
        )


def _warnings(model: Model, request: Embed, cut: Sequence[int]) -> list[str]:
    warnings = []
    if request.role and not (model.embedding.query_prefix or model.embedding.passage_prefix):
        warnings.append(f'"{model.name}" has no prefix for a {request.role}')
    if cut:
        warnings.append(f"{len(cut)} of the texts were cut to fit the context window")
    return warnings
