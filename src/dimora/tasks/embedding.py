"""An embedding model on loan, as its own habits want it: prefixes, Unicode form, unit length.

Shared by what embeds, and what finds by meaning. Not a task itself.
"""

from __future__ import annotations

import math
import time
import unicodedata
from collections.abc import Sequence
from typing import Literal

from dimora.core.errors import InternalError
from dimora.core.types import Usage
from dimora.tasks.base import EmbeddingHabits, Rooms, TextsToEmbed
from dimora.tasks.borrowed import Borrowed
from dimora.tasks.options import Options
from dimora.tasks.writing import require, window_of

Role = Literal["", "query", "passage"]


def prepared(text: str, habits: EmbeddingHabits, role: Role) -> str:
    """The text as the model was trained to see it."""
    prefix = {"query": habits.query_prefix, "passage": habits.passage_prefix}.get(role, "")
    if habits.unicode_form == "NFKC":
        text = unicodedata.normalize("NFKC", text)
    return prefix + text


def finished(
    vector: Sequence[float], *, dimensions: int = 0, normalize: bool = True
) -> tuple[float, ...]:
    """Cut to `dimensions`, where there are any, and of unit length.

    Raises InternalError for a vector with what is no number.
    """
    if dimensions:
        vector = vector[:dimensions]
    # Infinite or no number as soon as one of the vector's numbers is.
    length = math.hypot(*vector)
    if not math.isfinite(length):
        raise InternalError("embedding contains NaN or Inf values", code="not_finite")
    if not normalize:
        return tuple(vector)
    length = length or 1.0
    return tuple([x / length for x in vector])


class Embedder(Borrowed):
    """An embedding model for the length of a job.

    Raises NotFound for a model that is not here, UnsupportedFeature for one that cannot embed.
    """

    def __init__(
        self, name: str, rooms: Rooms, *, batch: bool = False, keep_alive: float | None = None
    ) -> None:
        self.model = rooms.models.find(name)
        require(self.model, "embedding", "embedding")
        self._options = Options().over(self.model.options)
        self._started = time.monotonic()
        self._tokens = 0
        super().__init__(
            rooms.reserve(self.model, self._options, keep_alive=keep_alive, batch=batch)
        )

    async def vectors(self, texts: Sequence[str], role: Role) -> list[tuple[float, ...]]:
        """One of unit length for each text; what is too long is cut."""
        if not texts:
            return []
        wanted = TextsToEmbed(
            texts=tuple(prepared(text, self.model.embedding, role) for text in texts),
            window=window_of(self.loan, self._options),
        )
        embedded = await self.loan.embed(wanted)
        self._tokens += embedded.tokens
        return [finished(vector) for vector in embedded.vectors]

    def usage(self) -> Usage:
        return Usage(
            prompt_tokens=self._tokens,
            load_seconds=self.loan.load_seconds,
            queue_seconds=self.loan.queue_seconds,
            total_seconds=time.monotonic() - self._started,
        )
