"""Finds what identifies a person or an account in a text. Not a task itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

import msgspec

PrivateKind = Literal["email", "phone", "iban", "card", "tax code", "ip address"]


class PrivateSpan(msgspec.Struct, frozen=True):
    """Something private, from character `start` to `end` of the text."""

    kind: PrivateKind
    start: int
    end: int


def find_private(text: str) -> tuple[PrivateSpan, ...]:
    """In the order of the text; where two overlap, the first kind of the table stands."""
    found: list[PrivateSpan] = []
    taken = bytearray(len(text))
    for kind, pattern, holds in _KINDS:
        at, search = 0, re.compile(pattern).search
        while match := search(text, at):
            start, at = match.span()
            for end in _ends(kind, match):
                if not any(taken[start:end]) and holds(text[start:end]):
                    found.append(PrivateSpan(kind, start, end))
                    taken[start:end] = b"\1" * (end - start)
                    # Behind a part another one may begin.
                    at = end
                    break
            else:
                if kind == "iban" and " " in match[0]:
                    # Or within what looked like one: CODE AB12 IBAN IT60 ...
                    at = start + match[0].index(" ") + 1
    return tuple(sorted(found, key=lambda span: span.start))


def _ends(kind: PrivateKind, match: re.Match[str]) -> list[int]:
    """Where it may end, the longest first: capitals or digits that follow an account or a card
    (`BIC`, `12/28`) look like more of it, and the check digits tell."""
    start, end = match.span()
    blanks = [start + found.start() for found in re.finditer(_PARTED.get(kind, "(?!)"), match[0])]
    return [end, *reversed(blanks)]


def _is_iban(words: str) -> bool:
    """ISO 13616: moved around and read as a number, it leaves 1 when divided by 97."""
    plain = re.sub(r"\s", "", words)
    moved = plain[4:] + plain[:4]
    return 15 <= len(plain) <= 34 and int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def _is_card(words: str) -> bool:
    """ISO/IEC 7812: Luhn's sum."""
    digits = [int(c) for c in words if c.isdigit()]
    doubled = [d * 2 - 9 * (d > 4) if at % 2 else d for at, d in enumerate(reversed(digits))]
    return 13 <= len(digits) <= 19 and sum(doubled) % 10 == 0 and any(digits)


def _is_phone(words: str) -> bool:
    groups = re.findall(r"\d+", words)
    whole = words[-1].isdigit() and len(groups[-1]) > 1 and len(groups) <= 7
    return whole and 8 <= sum(map(len, groups)) <= 15


def _is_address(words: str) -> bool:
    return all(int(part) < 256 for part in words.split("."))


def _always(words: str) -> bool:
    return bool(words)


# What parts the groups of an account or a card; of a card's none that are short, for of many
# short numbers some have by chance the sum.
_PARTED: dict[PrivateKind, str] = {"iban": " ", "card": r"(?<=\d{4})[ -]"}

# Anybody may write such a text: no pattern reads a run of signs in two ways, or from each of its
# characters anew.
_KINDS: tuple[tuple[PrivateKind, str, Callable[[str], bool]], ...] = (
    ("email", r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+", _always),
    ("iban", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b", _is_iban),
    ("card", r"\b\d(?:[ -]?\d){12,18}\b", _is_card),
    (
        "tax code",
        r"\b[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]\b|\b\d{8}[A-HJ-NP-TV-Z]\b",
        _always,
    ),
    ("ip address", r"\b(?:\d{1,3}\.){3}\d{1,3}\b", _is_address),
    (
        "phone",
        r"(?:\+|\b(?=0\d|3\d\d|[6-9]\d\d))\d(?:\)?[ ./-]?\(?\d){7,}+\w?",
        _is_phone,
    ),
)
