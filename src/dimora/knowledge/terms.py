"""Texts as the terms their words are found by: without accents, capitals and endings."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from dimora.core.languages import is_common_word

# How words become terms is part of every file; another number makes their indexes anew, and so
# would whatever an index may keep of words that are gone. Python's tables of letters are part of it
# as well.
VERSION = f"2/{unicodedata.unidata_version}"
_WORD = re.compile(r"[^\W_]+")
_LONGEST = 40
# Shorter ones would lose more by losing their endings than they gain.
_SHORTEST_STEM = 4


def terms_of(text: str) -> list[str]:
    """Every word's term, in order.

    Endings go the light way (Savoy 2006): a final s, then a final vowel, which are number and
    gender in Italian and Spanish and number in English. Words with digits stay whole.
    """
    # Parts of letters would be no part of words.
    whole = unicodedata.normalize("NFC", text.casefold())
    return [term for word in _WORD.findall(whole) if (term := _term(word))]


def question_terms(text: str) -> list[str]:
    """The terms of a question's words, each once, the commonest words of the languages left out
    unless it has no others."""
    whole = unicodedata.normalize("NFC", text.casefold())
    words = list(dict.fromkeys(_WORD.findall(whole)))
    telling = [word for word in words if len(word) > 1 and not is_common_word(word)]
    return list(dict.fromkeys(term for word in telling or words if (term := _term(word))))


# Of a vocabulary a few thousand words are most of the text.
@lru_cache(maxsize=2**15)
def _term(word: str) -> str:
    if not word.isascii():
        plain = unicodedata.normalize("NFKD", word)
        word = "".join(c for c in plain if c.isalnum())
    if len(word) < _SHORTEST_STEM + 1 or not word.isalpha():
        return word[:_LONGEST]
    stem = word[:-1] if word.endswith("s") and not word.endswith("ss") else word
    if len(stem) > _SHORTEST_STEM and stem[-1] in "aeio":
        stem = stem[:-1]
    return stem[:_LONGEST]
