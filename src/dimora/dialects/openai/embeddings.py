"""`/v1/embeddings`."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from typing import Any

from dimora.core.errors import BadRequest, DimoraError, UnsupportedFeature
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
from dimora.dialects.openai import words
from dimora.tasks.embed import Embed, Vectors


class EmbeddingsBody(Body, frozen=True, kw_only=True):
    """From `input_type` on ours, as on `/api/embed`. `user` is a label without effect."""

    model: str = ""
    input: Any = None
    dimensions: int | None = None
    encoding_format: str = "float"
    user: str = ""
    input_type: str = ""
    truncate: bool = True
    keep_alive: Any = None
    options: dict[str, Any] = {}


_EMBEDDINGS = BodyReader(EmbeddingsBody)


def decode_embeddings(incoming: Incoming) -> Asked:
    """Raises BadRequest."""
    body, warnings = _EMBEDDINGS.read(incoming.body)
    if not body.model:
        raise BadRequest("model is required", param="model")
    if body.encoding_format not in ("float", "base64"):
        raise BadRequest("encoding_format must be one of: float, base64", param="encoding_format")
    if body.dimensions is not None and body.dimensions < 1:
        raise BadRequest("dimensions must be at least 1", param="dimensions")
    check_integer(body.dimensions, "dimensions")
    options, more = read_options(body.options)
    request = Embed(
        model=body.model,
        texts=_read_input(body.input),
        truncate=body.truncate,
        dimensions=body.dimensions or 0,
        role=read_input_role(body.input_type),
        keep_alive=keep_alive_from(body.keep_alive),
        options=options,
        warnings=(*warnings, *more),
    )
    return Asked(request, EmbeddingsAnswer(body.model, packed=body.encoding_format == "base64"))


def _read_input(value: Any) -> tuple[str, ...]:
    if value is None or value in ("", []):
        raise BadRequest("invalid input", param="input")
    texts = [value] if isinstance(value, str) else value
    if isinstance(texts, list) and any(isinstance(t, int | list) for t in texts):
        raise UnsupportedFeature(
            "input must be a string or a list of strings: token ids are not supported",
            param="input",
        )
    if not isinstance(texts, list) or not all(isinstance(t, str) for t in texts):
        raise BadRequest("invalid input type", param="input")
    return tuple(texts)


class EmbeddingsAnswer:
    """`packed`: vectors as base64 of 32-bit floats, little-endian."""

    streaming = False
    media_type = words.JSON

    def __init__(self, model: str, *, packed: bool) -> None:
        self._model = model
        self._packed = packed

    def frame(self, event: Event) -> bytes:
        return b""

    def refusal(self, error: DimoraError) -> bytes:
        return words.error(words.missing(error, self._model))

    def failure(self, error: DimoraError) -> bytes:
        return self.refusal(error)

    def whole(self, events: Sequence[Event]) -> bytes:
        found, done = find_event(events, Vectors), last_done(events)
        tokens = done.usage.prompt_tokens
        fields = {
            "object": "list",
            "data": [
                {"object": "embedding", "embedding": self._write(vector), "index": index}
                for index, vector in enumerate(found.vectors if found else ())
            ],
            "model": self._model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens} | cut_fields(done),
        }
        return encode(fields | warning_fields(done))

    def _write(self, vector: tuple[float, ...]) -> Any:
        if not self._packed:
            return vector
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
