"""Turn text into a model's token ids."""

from __future__ import annotations

from dimora.core.types import Event, Request

RIGHT = "use"


class Tokenize(Request, frozen=True, kw_only=True, tag="tokenize"):
    """`add_special` adds what the tokenizer puts around every prompt."""

    text: str
    add_special: bool = True
    keep_alive: float | None = None


class Tokens(Event, frozen=True, kw_only=True, tag="tokens"):
    tokens: tuple[int, ...]
