"""Turn texts into vectors."""

from __future__ import annotations

import math
import time
import unicodedata
from collections.abc import AsyncIterator, Sequence
from typing import Literal

from dimora.core.errors import BadRequest, InternalError
from dimora.core.types import Done, Event, Request, Usage
from dimora.tasks.base import EmbeddingHabits, Loan, Model, Right, Rooms
from dimora.tasks.options import Options
from dimora.tasks.writing import require, surely_fits, window_of

RIGHT: Right = "use"


class Embed(Request, frozen=True, kw_only=True, tag="embed"):
    """`dimensions` cuts and normalises again; 0 keeps all. `normalize` gives unit length.
    `role` puts the model's prefix for queries or passages before each text.
    """

    texts: tuple[str, ...]
    truncate: bool = True
    dimensions: int = 0
    normalize: bool = True
    role: Literal["", "query", "passage"] = ""
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
        prepared = [_prepare(text, model.embedding, request.role) for text in request.texts]
        texts, cut = await _fit_all(loan, prepared, window_of(loan, options), request.truncate)
        embedded = await loan.embed(texts) if texts else None
        vectors = [_finish(v, request) for v in embedded.vectors] if embedded else []
        yield Vectors(vectors=tuple(vectors))
        yield EmbedDone(
            usage=Usage(
                prompt_tokens=embedded.tokens if embedded else 0,
                load_seconds=loan.load_seconds,
                queue_seconds=loan.queue_seconds,
                total_seconds=time.monotonic() - started,
            ),
            warnings=(*request.warnings, *_warnings(model, request, cut)),
            truncated_texts=tuple(cut),
        )


def _prepare(text: str, habits: EmbeddingHabits, role: str) -> str:
    prefix = {"query": habits.query_prefix, "passage": habits.passage_prefix}.get(role, "")
    if habits.unicode_form == "NFKC":
        text = unicodedata.normalize("NFKC", text)
    return prefix + text


def _warnings(model: Model, request: Embed, cut: Sequence[int]) -> list[str]:
    warnings = []
    if request.role and not (model.embedding.query_prefix or model.embedding.passage_prefix):
        warnings.append(f'"{model.name}" has no prefix for a {request.role}')
    if cut:
        warnings.append(f"{len(cut)} of the texts were cut to fit the context window")
    return warnings


async def _fit_all(
    loan: Loan, texts: Sequence[str], window: int, truncate: bool
) -> tuple[list[str], list[int]]:
    """The texts, each cut to the window, and the positions of those that were cut."""
    fitted, cut = [], []
    for at, text in enumerate(texts):
        if not surely_fits(text, window):
            tokens = await loan.tokenize(text, add_special=False)
            # Two places are for the tokens that begin and end a text.
            if len(tokens) > window - 2:
                if not truncate:
                    raise BadRequest(
                        "the input length exceeds the context length", code="input_too_long"
                    )
                text = await loan.detokenize(tokens[: window - 2])
                cut.append(at)
        fitted.append(text)
    return fitted, cut


def _finish(vector: Sequence[float], request: Embed) -> tuple[float, ...]:
    if request.dimensions:
        vector = vector[: request.dimensions]
    if not all(math.isfinite(x) for x in vector):
        raise InternalError("embedding contains NaN or Inf values", code="not_finite")
    if not request.normalize:
        return tuple(vector)
    length = math.sqrt(math.fsum(x * x for x in vector)) or 1.0
    return tuple(x / length for x in vector)
