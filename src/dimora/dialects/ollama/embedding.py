"""`/api/embed`, and `/api/embeddings` as it was before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dimora.core.errors import BadRequest
from dimora.core.types import Event
from dimora.dialects._body import (
    Body,
    BodyReader,
    check_integer,
    keep_alive_from,
    read_input_role,
    read_options,
)
from dimora.dialects._writing import cut_fields, encode, find_event, last_done, warning_fields
from dimora.dialects.base import Asked, Incoming
from dimora.dialects.ollama import words
from dimora.dialects.ollama.answers import OneObject
from dimora.dialects.ollama.words import PULL_FIRST, Wording
from dimora.tasks.embed import Embed, Vectors

_METRICS = ("total_duration", "load_duration", "prompt_eval_count")


class EmbedBody(Body, frozen=True, kw_only=True):
    """`input_type` is ours: `query` or `passage`, for models that want a prefix."""

    model: str = ""
    input: Any = None
    truncate: bool = True
    dimensions: int = 0
    input_type: str = ""
    keep_alive: Any = None
    options: dict[str, Any] = {}


class EmbeddingsBody(Body, frozen=True, kw_only=True):
    model: str = ""
    prompt: str = ""
    keep_alive: Any = None
    options: dict[str, Any] = {}


_EMBED = BodyReader(EmbedBody)
_EMBEDDINGS = BodyReader(EmbeddingsBody)


def decode_embed(incoming: Incoming) -> Asked:
    """Raises BadRequest."""
    body, warnings = _EMBED.read(incoming.body)
    options, more = read_options(body.options)
    request = Embed(
        model=_required(body.model),
        texts=_read_input(body.input),
        truncate=body.truncate,
        dimensions=check_dimensions(body.dimensions),
        role=read_input_role(body.input_type),
        keep_alive=keep_alive_from(body.keep_alive),
        options=options,
        warnings=(*warnings, *more),
    )

    def tell(events: Sequence[Event]) -> bytes:
        found, done = find_event(events, Vectors), last_done(events)
        figures = words.metric_fields(done.usage)
        fields = {"model": body.model, "embeddings": found.vectors if found else []}
        fields |= {name: figures[name] for name in _METRICS if name in figures}
        return encode(fields | cut_fields(done) | warning_fields(done))

    return Asked(request, OneObject(tell, Wording(body.model, PULL_FIRST)))


def decode_embeddings(incoming: Incoming) -> Asked:
    """One text, one vector as the model gives it. Raises BadRequest."""
    body, warnings = _EMBEDDINGS.read(incoming.body)
    options, more = read_options(body.options)
    request = Embed(
        model=_required(body.model),
        texts=(body.prompt,) if body.prompt else (),
        normalize=False,
        keep_alive=keep_alive_from(body.keep_alive),
        options=options,
        warnings=(*warnings, *more),
    )

    def tell(events: Sequence[Event]) -> bytes:
        found, done = find_event(events, Vectors), last_done(events)
        vector = found.vectors[0] if found and found.vectors else ()
        return encode({"embedding": vector} | cut_fields(done) | warning_fields(done))

    return Asked(request, OneObject(tell, Wording(body.model, PULL_FIRST)))


def _read_input(value: Any) -> tuple[str, ...]:
    """The texts; an empty one alone is none, as upstream."""
    if value is None or value == "":
        return ()
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(t, str) for t in texts):
        raise BadRequest("invalid input type", param="input")
    return tuple(texts)


def check_dimensions(dimensions: int) -> int:
    """Raises BadRequest for a number of dimensions that cannot be."""
    check_integer(dimensions, "dimensions")
    if dimensions < 0:
        raise BadRequest("dimensions must not be negative", param="dimensions")
    return dimensions


def _required(model: str) -> str:
    if not model:
        raise BadRequest("model is required", param="model")
    return model
