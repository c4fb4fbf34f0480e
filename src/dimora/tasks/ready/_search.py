"""Finds which of a few passages speak of a question, by their words. Not a task itself."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from dimora.core.languages import is_common_word

# Words are compared by their beginnings: endings are grammar in all three languages.
_STEM_CHARACTERS = 5
# The usual constants of BM25 (Robertson and Zaragoza 2009).
_K1, _B = 1.2, 0.75


def stems_of(text: str) -> list[str]:
    """The beginnings of all words that mean something, without accents and capital letters."""
    words = [w for w in re.findall(r"\w+", text.casefold()) if not is_common_word(w)]
    plain = [
        "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
        for word in words
    ]
    return [word.removesuffix("s")[:_STEM_CHARACTERS] for word in plain if len(word) > 1]


def rank_passages(question: str, passages: Sequence[str]) -> list[tuple[int, float]]:
    """Positions of the passages that share a word with the question, best first, with scores."""
    documents = [Counter(stems_of(passage)) for passage in passages]
    sizes = [sum(document.values()) for document in documents]
    average = (sum(sizes) / len(sizes)) if sizes else 0.0
    wanted = set(stems_of(question))
    holding = {w: sum(w in document for document in documents) for w in wanted}
    found = []
    for at, document in enumerate(documents):
        score = 0.0
        for word in wanted & document.keys():
            rarity = math.log(1 + (len(documents) - holding[word] + 0.5) / (holding[word] + 0.5))
            length = 1 - _B + _B * sizes[at] / average
            score += rarity * document[word] * (_K1 + 1) / (document[word] + _K1 * length)
        if score > 0:
            found.append((at, score))
    return sorted(found, key=lambda one: -one[1])
