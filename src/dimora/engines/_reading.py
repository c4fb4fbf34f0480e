"""From the token ids of one answer to Tokens with whole characters, up to a stop string."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence

from dimora.engines._stops import StopFilter
from dimora.tasks.base import Token, TopToken

# Texts that end a turn in one family or another; those that are one token here stop an answer.
ENDS = ("<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|endoftext|>", "<|end|>", "</s>")
_UNFINISHED = "\ufffd"


class Reading:
    """One answer. `decode` gives the text of ids, special tokens written out; ids in `ends` are
    not text. `count` is of all ids, `ended` is empty until the answer has, then `stop` or `length`.
    """

    def __init__(
        self, decode: Callable[[Sequence[int]], str], ends: Container[int], stops: Sequence[str]
    ) -> None:
        self._decode_ids = decode
        self._ends = ends
        self._stops = StopFilter(stops)
        self._ids: list[int] = []
        # Text is decoded from `_from`, of which the part before `_told` is already told: a
        # tokenizer may treat the first token of a text differently from the same in the middle.
        self._from = 0
        self._told = 0
        self.count = 0
        self.ended = ""

    def read(
        self, id_: int, logprob: float | None = None, top: tuple[TopToken, ...] = ()
    ) -> Iterator[Token]:
        """The token that is told for an id; none for one that ends the answer."""
        self.count += 1
        if id_ in self._ends:
            return
        self._ids.append(id_)
        yield Token(id_, self._stops.feed(self._new_text(final=False)), logprob, top)
        if self._stops.matched:
            self.ended = "stop"

    def end(self, reason: str) -> Iterator[Token]:
        """What was held back, at the end of the ids."""
        self.ended = reason
        rest = self._stops.feed(self._new_text(final=True)) + self._stops.finish()
        if rest:
            yield Token(-1, rest)

    def _new_text(self, *, final: bool) -> str:
        """What the newest ids add; empty while they end within a character."""
        told = self._decode(self._ids[self._from : self._told])
        text = self._decode(self._ids[self._from :])
        if len(text) <= len(told) or (text.endswith(_UNFINISHED) and not final):
            return ""
        self._from, self._told = self._told, len(self._ids)
        return text[len(told) :]

    def _decode(self, ids: Sequence[int]) -> str:
        return self._decode_ids(ids) if ids else ""
