"""Turn texts into vectors."""

from __future__ import annotations

from typing import Literal

from dimora.core.types import Done, Event, Request
from dimora.tasks.options import Options

RIGHT = "use"


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
