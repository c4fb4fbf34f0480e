"""Turn token ids back into text."""

from __future__ import annotations

from dimora.core.types import Event, Request

RIGHT = "use"


class Detokenize(Request, frozen=True, kw_only=True, tag="detokenize"):
    tokens: tuple[int, ...]
    keep_alive: float | None = None


class Detokenized(Event, frozen=True, kw_only=True, tag="detokenized"):
    text: str
