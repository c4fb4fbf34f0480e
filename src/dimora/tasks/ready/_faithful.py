"""Finds names and numbers in a text that the text it was made of does not have.

Not a task itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from typing import Literal

import msgspec

from dimora.core.languages import is_common_word

_NUMBER = re.compile(r"\d+(?:[.,'’\u00a0\u202f]\d+)*")
_WORD = re.compile(r"[^\W\d_](?:[^\W_]|['’.&-](?=[^\W_]))*")
_SENTENCE_END = re.compile(r"(?:^|[.!?:;\n•*\-–—\"“«(\[])[\s\"“«(\[*#\-–•]*$")
_SMALL = {
    word: str(value)
    for line in (
        "zero one two three four five six seven eight nine ten eleven twelve",
        "zero uno due tre quattro cinque sei sette otto nove dieci undici dodici",
        "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce",
    )
    for value, word in enumerate(line.split())
}
_SMALL |= {"un": "1", "una": "1", "un'": "1", "a": "1", "an": "1"}


class Unsupported(msgspec.Struct, frozen=True):
    """A name or number that does not stand in the source."""

    value: str
    kind: Literal["name", "number"]


def find_unsupported(text: str, source: str) -> tuple[Unsupported, ...]:
    """Of each name or number that the source has not, one, in the order of the text.

    Numbers are compared by their digits, whatever separates thousands; a name by its words,
    without accents and capital letters. A word that only begins a sentence is no name, so that a
    name which stands alone there is missed.
    """
    found: dict[Unsupported, None] = {}
    numbers = {digits_of(n) for n in _NUMBER.findall(source)}
    words = {_plain(w) for w in _WORD.findall(source)}
    numbers |= {_SMALL[w] for w in words if w in _SMALL}
    for number in _NUMBER.findall(text):
        if digits_of(number) not in numbers:
            found[Unsupported(number, "number")] = None
    for name in _names(text):
        if not _occurs(name, words):
            found[Unsupported(name, "name")] = None
    return tuple(found)


def numbers_of(text: str) -> Counter[str]:
    """The digits of each number in a text, and how often it stands there."""
    return Counter(digits_of(number) for number in _NUMBER.findall(text))


def digits_of(number: str) -> str:
    """`1.200,50` and `1,200.5` are one number; a last group of one or two digits is a fraction."""
    groups = re.split(r"\D", number)
    last = groups[-1] if len(groups) > 1 and len(groups[-1]) < 3 else ""
    whole = "".join(groups[:-1] if last else groups).lstrip("0") or "0"
    fraction = last.rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def _names(text: str) -> Iterator[str]:
    words = list(_WORD.finditer(text))
    for at, match in enumerate(words):
        word = match[0]
        if not word[0].isupper() or len(word) < 2 or is_common_word(word):
            continue
        begins = _SENTENCE_END.search(text[max(0, match.start() - 12) : match.start()]) is not None
        if match.start() == 0 or begins:
            after = words[at + 1] if at + 1 < len(words) else None
            goes_on = (
                after is not None
                and after[0][0].isupper()
                and text[match.end() : after.start()].isspace()
            )
            if not goes_on and not (word.isupper() and len(word) > 1):
                continue
        yield word


def _occurs(name: str, words: set[str]) -> bool:
    """The name or its stem is there: `Rossi's`, plurals and adjectives of a place are not new."""
    plain = _plain(name)
    if plain in words or all(part in words for part in re.split(r"[^\w]", plain) if part):
        return True
    stem = plain[: max(4, len(plain) - 2)]
    return len(plain) > 4 and any(word.startswith(stem) for word in words)


def _plain(word: str) -> str:
    bare = unicodedata.normalize("NFKD", word)
    return "".join(c for c in bare if not unicodedata.combining(c)).casefold()
