"""Finds where a copied value stands in a text, and reads it as a number, date or yes/no.

Not a task itself.
"""

from __future__ import annotations

import contextlib
import datetime
import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, Literal

from dimora.core.errors import BadRequest
from dimora.core.languages import Language
from dimora.tasks.base import Token

Kind = Literal["text", "number", "date", "yes/no"]
KINDS: tuple[Kind, ...] = ("text", "number", "date", "yes/no")

_MONTHS = {
    name: number
    for names in (
        "january february march april may june july august september october november december",
        "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre"
        " dicembre",
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    )
    for number, name in enumerate(names.split(), 1)
} | {"setiembre": 9}
# Not made of the names: three letters of `martedì` and `martes` are those of March.
_SHORT_MONTHS = {
    name: number
    for names in (
        "jan feb mar apr may jun jul aug sep oct nov dec",
        "gen feb mar apr mag giu lug ago set ott nov dic",
        "ene feb mar abr may jun jul ago sept oct nov dic",
    )
    for number, name in enumerate(names.split(), 1)
} | {"sett": 9}
_YES = frozenset("yes true y si sì sí vero verdadero ok x ✓".split())
_NO = frozenset("no false n falso none nessuno ninguno".split())


def find_span(value: str, text: str, kind: Kind = "text") -> tuple[int, int] | None:
    """Where the value stands in the text, as offsets of characters: as it is, else whatever the
    white space, the capital letters and the marks around it. A value is no part of a longer word,
    number or date."""
    at = text.find(value) if value.strip() else -1
    while at >= 0:
        if _is_whole(kind, text, at, at + len(value)):
            return at, at + len(value)
        at = text.find(value, at + 1)
    words = value.strip(" \t\n\"'«»“”.,;:").split()
    if not words:
        return None
    pattern = r"\s+".join(re.escape(word) for word in words)
    spans = (found.span() for found in re.finditer(pattern, text, re.IGNORECASE))
    return next((span for span in spans if _is_whole(kind, text, *span)), None)


def _is_whole(kind: Kind, text: str, start: int, end: int) -> bool:
    """Whether no word goes on before or behind (`no` is no value of `Milano`), and no number: `18`
    is none of `2026/118`, nor of `18,5`."""
    if kind not in _STANDING:
        first, last = text[max(0, start - 1) : start], text[end : end + 1]
        return not (_goes_on(first, text[start]) or _goes_on(text[end - 1], last))
    before, behind = text[max(0, start - 2) : start], text[end : end + 2]
    return not (
        (not text[start].isalpha() and re.search(rf"\d{_WITHIN}?\Z", before))
        or (not text[end - 1].isalpha() and re.match(rf"{_WITHIN}?\d", behind))
    )


def _goes_on(one: str, other: str) -> bool:
    """Whether two characters are of one word. Scripts without capital letters may put no space
    between their words, or write small words in one with others."""
    return all(c.isdigit() or c.upper() != c.lower() for c in (one, other))


# What stands between the digits of one number or date.
_WITHIN = r"[-−/.,:'’\u00a0\u202f]"


_DIGITS_AT_MOST = 40
# How a number or a date may stand in a text.
_STANDING: dict[str, str] = {
    "number": r"(?:(?<!\d)[-−])?\d+(?:[.,'’]\d+|[ \u00a0\u202f]\d{3}\b)*",
    "date": r"(?<!\d)(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}"
    r"|\d{1,2}[^\w\n]+(?:(?:de|of) )?[^\W\d_]{3,12}[^\w\n]+(?:(?:de|del) )?\d{4}"
    r"|[^\W\d_]{3,12} \d{1,2}(?:st|nd|rd|th)?,? \d{4})(?!\d)",
}


def find_equal(
    kind: Kind, words: str, text: str, language: Language | None = None
) -> tuple[int, int] | None:
    """Where the first number or date stands that is the same in another spelling: a model that
    should copy `1.588,43` likes to write `1588.43`."""
    if kind not in _STANDING:
        return None
    wanted = []
    # A model may spell a number as its own language does.
    for each in (language, None):
        with contextlib.suppress(ValueError, OverflowError):
            wanted.append(read_value(kind, words, each))
    for found in re.finditer(_STANDING[kind], text):
        with contextlib.suppress(ValueError, OverflowError):
            if read_value(kind, found[0], language) in wanted and (
                kind == "date" or _is_whole(kind, text, *found.span())
            ):
                return found.span()
    return None


def read_value(kind: Kind, words: str, language: Language | None = None) -> Any:
    """The value as JSON has it: a date as `2026-05-03`. The language of the text decides what is
    ambiguous.

    Raises:
        ValueError: it is none.
        OverflowError: it is a number too large to be sent as one.
    """
    return _READERS[kind](words.strip(), language)


def is_ambiguous(words: str) -> bool:
    """Whether the mark of a number may stand for thousands or a fraction: `2.500`, `1,085`."""
    return re.fullmatch(r"-?[1-9]\d{0,2}[.,]\d{3}", _number_in(words)) is not None


def _number_in(words: str) -> str:
    """The first number as it is written, without blanks; empty for none."""
    found = re.search(r"(?:[-−]\s*)?\d+(?:[.,'’\s\u00a0\u202f]\d+)*", words)
    return re.sub(r"['’\s\u00a0\u202f]", "", found[0]).replace("−", "-") if found else ""


def _read_number(words: str, language: Language | None) -> int | float:
    """With a comma or a point before the fraction, as the last mark of the number tells."""
    written = _number_in(words)
    if not written:
        raise ValueError("no number")
    marks = re.findall(r"[.,]", written)
    last = marks[-1] if marks else ""
    if is_ambiguous(written):
        thousands = language is None or (last == ",") == (language == "en")
    else:
        thousands = marks.count(last) > 1
    whole, _, fraction = ("", "", "") if thousands or not last else written.rpartition(last)
    digits = re.sub(r"[.,]", "", whole or written)
    if fraction:
        number = float(f"{digits}.{fraction}")
        if math.isinf(number):
            raise OverflowError
        return number
    # MessagePack has no larger ones; and Python refuses to read very long ones.
    if len(digits) > _DIGITS_AT_MOST or not -(2**63) <= int(digits) < 2**63:
        raise OverflowError
    return int(digits)


def _read_date(words: str, _: Language | None) -> str:
    """Day before month where only numbers stand, unless that cannot be."""
    if found := re.search(r"\b(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})\b", words):
        year, month, day = (int(n) for n in found.groups())
    elif found := re.search(r"\b(\d{1,2})[-/.](\d{1,2})[-/.](\d{2,4})\b", words):
        day, month, year = (int(n) for n in found.groups())
        if month > 12 >= day:
            day, month = month, day
    else:
        day, month, year = _read_spelled_date(words)
    year += 2000 if year < 70 else 1900 if year < 100 else 0
    return datetime.date(year, month, day).isoformat()


def _read_spelled_date(words: str) -> tuple[int, int, int]:
    """The name nearest to a number that may be a day, one behind it before one in front: in
    `mar 5 mag 2026` the first is the day of the week."""
    parts = re.findall(r"\d+|[^\W\d_]+", words.lower())
    numbers = {at: int(part) for at, part in enumerate(parts) if part.isdecimal()}
    found = [
        ((part not in _MONTHS, abs(at - day), at < day), at, day)
        for at, part in enumerate(parts)
        if part in _MONTHS or part in _SHORT_MONTHS
        for day, number in numbers.items()
        if 1 <= number <= 31
    ]
    _, at, day = min(found, default=(None, -1, -1))
    years = [(abs(place - at), -place, n) for place, n in numbers.items() if n > 31]
    if not (found and years):
        raise ValueError("no date")
    name = parts[at]
    return numbers[day], _MONTHS.get(name) or _SHORT_MONTHS[name], min(years)[2]


def _read_flag(words: str, _: Language | None) -> bool:
    first = re.split(r"\W+", unicodedata.normalize("NFC", words.lower()))[0] or words.lower()
    if first in _YES:
        return True
    if first in _NO:
        return False
    raise ValueError("neither yes nor no")


_READERS: dict[Kind, Callable[[str, Language | None], Any]] = {
    "text": lambda words, _: words,
    "number": _read_number,
    "date": _read_date,
    "yes/no": _read_flag,
}


def token_offsets(tokens: Sequence[Token]) -> list[tuple[int, int, float]]:
    """Begin, end and log-probability of each token in the text they are together."""
    found, at = [], 0
    for token in tokens:
        found.append((at, at + len(token.text), token.logprob or 0.0))
        at += len(token.text)
    return found


def least_logprob(tokens: Sequence[Token], start: int, end: int) -> float:
    """Of the token within these characters that the model was least sure of; 0.0 for none."""
    within = [p for begin, stop, p in token_offsets(tokens) if begin < end and stop > start]
    return min(within, default=0.0)


def read_kind(word: str) -> Kind:
    """Raises BadRequest for what is no kind of value."""
    for kind in KINDS:
        if word == kind:
            return kind
    raise BadRequest(
        f"a field cannot be of kind {word[:40]!r}",
        hint=f"choose one of: {', '.join(KINDS)}",
        param="fields",
    )
