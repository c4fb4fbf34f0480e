"""`/api/tokenize` and `/api/detokenize`: ours, in Ollama's style."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dimora.core.errors import BadRequest
from dimora.core.types import Event
from dimora.dialects._body import Body, BodyReader, keep_alive_from
from dimora.dialects._writing import encode, find_event, last_done, warning_fields
from dimora.dialects.base import Asked, Incoming
from dimora.dialects.ollama.answers import OneObject
from dimora.dialects.ollama.inference import check_token
from dimora.dialects.ollama.words import PULL_FIRST, Wording
from dimora.tasks.detokenize import Detokenize, Detokenized
from dimora.tasks.tokenize import Tokenize, Tokens


class TokenizeBody(Body, frozen=True, kw_only=True):
    """`content` is another word for `text`."""

    model: str = ""
    text: str | None = None
    content: str | None = None
    add_special: bool = True
    keep_alive: Any = None


class DetokenizeBody(Body, frozen=True, kw_only=True):
    model: str = ""
    tokens: list[int] = []
    keep_alive: Any = None


_TOKENIZE = BodyReader(TokenizeBody)
_DETOKENIZE = BodyReader(DetokenizeBody)


def decode_tokenize(incoming: Incoming) -> Asked:
    """Raises BadRequest."""
    body, warnings = _TOKENIZE.read(incoming.body)
    _require_model(body.model)
    if body.text is not None and body.content is not None:
        raise BadRequest("send either text or content, not both", param="content")
    request = Tokenize(
        model=body.model,
        text=body.text or body.content or "",
        add_special=body.add_special,
        keep_alive=keep_alive_from(body.keep_alive),
        warnings=warnings,
    )

    def tell(events: Sequence[Event]) -> bytes:
        found = find_event(events, Tokens)
        fields = {"model": body.model, "tokens": list(found.tokens) if found else []}
        return encode(fields | warning_fields(last_done(events)))

    return Asked(request, OneObject(tell, Wording(body.model, PULL_FIRST)))


def decode_detokenize(incoming: Incoming) -> Asked:
    """Raises BadRequest."""
    body, warnings = _DETOKENIZE.read(incoming.body)
    _require_model(body.model)
    for token in body.tokens:
        check_token(token, "tokens")
    request = Detokenize(
        model=body.model,
        tokens=tuple(body.tokens),
        keep_alive=keep_alive_from(body.keep_alive),
        warnings=warnings,
    )

    def tell(events: Sequence[Event]) -> bytes:
        found = find_event(events, Detokenized)
        fields = {"model": body.model, "text": found.text if found else ""}
        return encode(fields | warning_fields(last_done(events)))

    return Asked(request, OneObject(tell, Wording(body.model, PULL_FIRST)))


def _require_model(name: str) -> None:
    if not name:
        raise BadRequest("model is required", param="model")
