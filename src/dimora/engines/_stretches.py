"""An answer that a grammar holds, written in stretches: what must come next is not asked for.

An engine proposes one token after another, each allowed by a grammar that is near to ours and
quick to follow. Ours decides: text that it forces is put behind what was written, and the engine
goes on from there; a token that leaves it is cut where it does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Sequence
from typing import NamedTuple

from dimora.engines._reading import Decoding
from dimora.engines._walk import State, Walk

# A forced token has this probability, whatever the model thinks of it.
CERTAIN = 0.0
_WORD_AT_END = re.compile(r"\w+\Z")

Told = tuple[int, float]


class Step(NamedTuple):
    """What is sure now: ids with log-probabilities, and whether the answer ended by them.

    With `again`, the engine has to go on from `ids` of the answer and with another grammar.
    """

    told: Sequence[Told] = ()
    ended: str = ""
    again: bool = False


class Stretches:
    """One answer. `encode` and `decode` are those of the engine, `ends` the ids that end one;
    `limit` is the most ids it may have."""

    def __init__(
        self,
        walk: Walk,
        *,
        encode: Callable[[str], list[int]],
        decode: Callable[[Sequence[int]], str],
        ends: Container[int],
        limit: int,
    ) -> None:
        self._walk = walk
        self._state = walk.start
        self._encode = encode
        self._ends = ends
        self._decoding = Decoding(decode)
        self._waiting: list[Told] = []
        self._exact = False
        self._limit = limit
        self.ids: list[int] = []

    @property
    def grammar(self) -> str:
        """For what is still to be written."""
        return self._walk.rest(self._state, exact=self._exact)

    @property
    def room(self) -> int:
        """How many ids may still be written."""
        return self._limit - len(self.ids)

    def begin(self) -> Step:
        """What every answer begins with; `again` unless that is all."""
        step = self._go_on([], least=1)
        return step if step.ended else step._replace(again=True)

    def feed(self, id_: int, logprob: float, *, least: int) -> Step:
        """The next id of the engine. What is forced is skipped from `least` tokens on."""
        self._waiting.append((id_, logprob))
        if id_ in self._ends:
            return Step(self._tell(), "stop")
        mark, before = self._decoding.mark(), self._state
        text = self._decoding.add((id_,))
        if not text:
            return Step()
        count, self._state = self._walk.follow(before, text)
        if count == len(text):
            return self._go_on(self._tell(), least=least)
        self._decoding.back_to(mark)
        self._waiting.clear()
        return self._cut(text[:count], before)

    def end(self, reason: str) -> Step:
        """The engine has no more."""
        return Step(self._tell(), reason)

    def _tell(self) -> list[Told]:
        told, self._waiting = self._waiting, []
        self.ids += [id_ for id_, _ in told]
        return told

    def _go_on(self, told: list[Told], *, least: int) -> Step:
        """After ids that the grammar allows: with what it forces, where that is worth a stretch."""
        if self._state.is_complete:
            return Step(told, "stop")
        text, state = self._forced()
        mark = self._decoding.mark()
        ids = self._ids_of(text)
        if not ids or (len(ids) < least and not state.is_complete):
            self._decoding.back_to(mark)
            return Step(told)
        self._state = state
        return self._skip(told, ids)

    def _cut(self, kept: str, before: State) -> Step:
        """After a token of which the grammar allows no more than what is `kept`."""
        text, state = self._forced()
        ids = self._ids_of(kept + text)
        if not ids:
            # The engine writes the same once more, and is held to every bound.
            self._state, self._exact = before, True
            return Step(again=True)
        self._state = state
        return self._skip([], ids)

    def _skip(self, told: list[Told], ids: list[int]) -> Step:
        self._exact = False
        told += [(id_, CERTAIN) for id_ in ids[: self.room]]
        ended = "length" if len(ids) > self.room else "stop" if self._state.is_complete else ""
        self.ids += ids[: self.room]
        if not ended and not self.room:
            ended = "length"
        return Step(told, ended, again=not ended)

    def _forced(self) -> tuple[str, State]:
        text, state = self._walk.forced(self._state)
        if state.is_complete:
            return text, state
        # Not into a word, whose tokens would not be those that the model knows.
        text = _WORD_AT_END.sub("", text)
        return text, self._walk.follow(self._state, text)[1]

    def _ids_of(self, text: str) -> list[int]:
        """Ids that add exactly this text to what was written; none where there are no such."""
        ids = self._encode(text) if text else []
        mark = self._decoding.mark()
        if any(id_ in self._ends for id_ in ids) or self._decoding.add(ids) != text:
            self._decoding.back_to(mark)
            return []
        return ids
