"""Whether what a search brought is worth an answer, by numbers, before a model writes a word.

Not a task itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import msgspec

from dimora.tasks.knowing import Passage

# A logistic regression on one half of the questions of bench/retrieval.py, rounded. Embedders put
# unrelated texts at high cosines, so that the best one alone tells little. What tells most is a
# name in the question that stands in no passage.
_OF_SIMILARITY, _OF_AGREEMENT, _OF_WORDS, _OF_NAMES = 15.0, 4.0, 2.5, 7.5
_ENOUGH = 23.45
# Passages that are shown are those that have to have the words.
_LOOKED_AT = 8
_WORD = re.compile(r"[^\W_]+")
# May stand before the first word of a sentence.
_OPENING = " \t\n\"'«“(¿¡"


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What a search brought, in numbers: the best cosine, how far meaning and words agree on the
    first passage, and the largest shares of the question's words and names in one passage."""

    similarity: float
    agreement: float
    word_share: float
    name_share: float

    @property
    def is_enough(self) -> bool:
        """Whether it is worth an answer."""
        return (
            _OF_SIMILARITY * self.similarity
            + _OF_AGREEMENT * self.agreement
            + _OF_WORDS * self.word_share
            + _OF_NAMES * self.name_share
        ) >= _ENOUGH


def evidence_of(question: str, passages: Sequence[Passage]) -> Evidence:
    """`passages` best first."""
    shown = passages[:_LOOKED_AT]
    names = names_in(question)
    return Evidence(
        similarity=max((each.similarity for each in passages), default=0.0),
        agreement=shown[0].score if shown else 0.0,
        word_share=max((max(0.0, each.word_share) for each in shown), default=0.0),
        name_share=max((_share(names, each) for each in shown), default=0.0),
    )


def names_in(question: str) -> tuple[str, ...]:
    """The words that look like names: with a capital where no sentence begins, or with a digit;
    folded. A question that is mostly such words has none: somebody writes in capitals."""
    words = list(_WORD.finditer(question))
    names = [found[0] for found in words if _is_name(found[0], question, found.start())]
    return tuple(_folded(name) for name in names) if 2 * len(names) <= len(words) else ()


def _is_name(word: str, question: str, at: int) -> bool:
    if any(letter.isdigit() for letter in word):
        return True
    while at and question[at - 1] in _OPENING:
        at -= 1
    return word[0].isupper() and word != "I" and at > 0 and question[at - 1] not in ".?!:…"


def _share(names: Sequence[str], passage: Passage) -> float:
    if not names:
        return 1.0
    text = _folded(f"{passage.document} {passage.piece.words}")
    return sum(name in text for name in names) / len(names)


def _folded(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in apart if not unicodedata.combining(c))
