"""What an answer says of its sources: [1] names a passage, one that there is and that can be meant.

Not a task itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from dimora.tasks.knowing import Citation, Passage
from dimora.tasks.matching import rank_passages, stems_of

_NAMED = re.compile(r"\s?\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\]")
# A passage that is not named is cited if it is as near to the answer as this share of the nearest.
_NEARLY_AS_ALIKE = 0.6
_FENCE = "```"
# Where a sentence ends, or another number stood.
_BETWEEN = re.compile(r"(?<=[.!?…])\s+|\n|\[[\d, ]+\]")
_OPEN = re.compile(r"\s?(?:\[[\d,; ]{0,24})?$")


class CitedText:
    """Takes the text of an answer piece by piece and gives it on. Numbers of passages that do not
    exist are left out, and one that is wrong beyond doubt is set right. A piece that may be the
    beginning of a number is held back."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = passages
        self._stems = [set(stems_of(each.piece.words)) for each in passages]
        self._held = ""
        self._told = ""
        self.named: set[int] = set()

    def feed(self, text: str) -> str:
        whole = self._held + text
        held = _OPEN.search(whole)
        at = held.start() if held else len(whole)
        self._held = whole[at:]
        return self._mended(whole[:at])

    def finish(self) -> str:
        held, self._held = self._held, ""
        return self._mended(held)

    def citations(self) -> list[Citation]:
        """Those that were named; where none was, those that share most words with the answer."""
        numbers = self.named or self._alike()
        return [
            Citation(number=number, passage=passage)
            for number, passage in enumerate(self._passages, 1)
            if number in numbers
        ]

    def _alike(self) -> set[int]:
        ranked = rank_passages(self._told, [each.piece.words for each in self._passages])
        least = ranked[0][1] * _NEARLY_AS_ALIKE if ranked else 0.0
        return {at + 1 for at, score in ranked if score >= least} or {1}

    def _mended(self, text: str) -> str:
        before = len(self._told)
        at = 0
        for found in _NAMED.finditer(text):
            self._told += text[at : found.start()]
            self._told += found[0] if self._is_code(found[0]) else self._kept(found)
            at = found.end()
        self._told += text[at:]
        return self._told[before:]

    def _is_code(self, mark: str) -> bool:
        """Between fences, or right behind a word a number of no passage, is an index."""
        if self._told.count(_FENCE) % 2:
            return True
        beside = mark[0] == "[" and (self._told[-1:].isalnum() or self._told[-1:] in ("_", ")"))
        return beside and not any(self._numbers(mark))

    def _numbers(self, mark: str) -> list[int]:
        """Those of passages that there are."""
        numbers = [int(each) for each in re.findall(r"\d+", mark)]
        return [each for each in numbers if 1 <= each <= len(self._passages)]

    def _kept(self, found: re.Match[str]) -> str:
        meant = list(dict.fromkeys(map(self._meant, self._numbers(found[0]))))
        self.named.update(meant)
        blank = found[0][: len(found[0]) - len(found[0].lstrip())]
        return blank + "".join(f"[{each}]" for each in meant) if meant else ""

    def _meant(self, number: int) -> int:
        """Another passage, where most words of the sentence stand in that one, and not half as many
        in the one that is named."""
        sentences = (set(stems_of(each)) for each in reversed(_BETWEEN.split(self._told)))
        words = next((each for each in sentences if each), set())
        shared = [len(words & stems) for stems in self._stems]
        most = max(shared)
        if most >= max(2, len(words) / 2) and shared[number - 1] * 2 < most:
            return shared.index(most) + 1
        return number
