"""How characters are written in a GBNF grammar, alone and inside a JSON string.

GBNF is the notation of llama.cpp; `_constraints` reads it too, as far as it is written here.
"""

from __future__ import annotations

from collections.abc import Iterable

Range = tuple[int, int]

_LAST = 0x10FFFF
# What JSON wants escaped in a string, as far as it has a short form.
_SHORT = {0x22: '"', 0x5C: "\\", 0x08: "b", 0x0C: "f", 0x0A: "n", 0x0D: "r", 0x09: "t"}
# Characters that cannot stand in a JSON string as they are; lone surrogates are no text at all.
NOT_PLAIN = ((0x00, 0x1F), (0x22, 0x22), (0x5C, 0x5C), (0xD800, 0xDFFF))


def literal(text: str) -> str:
    """A terminal that is exactly this text."""
    return '"' + "".join(_escaped(ord(c)) for c in text) + '"'


def character(ranges: Iterable[Range]) -> str:
    """One character of a JSON string out of these code points, escaped where JSON wants that.

    Raises ValueError when there is no such character.
    """
    wanted = list(ranges)
    plain = subtract(wanted, NOT_PLAIN)
    short = [sign for code, sign in _SHORT.items() if _has(wanted, code)]
    choices = [char_class(plain)] if plain else []
    if len(short) == 1:
        choices.append(literal("\\" + short[0]))
    elif short:
        choices.append(literal("\\") + " " + char_class([(ord(s), ord(s)) for s in sorted(short)]))
    if not choices:
        raise ValueError("no character of a JSON string is meant")
    return choices[0] if len(choices) == 1 and not short else "(" + " | ".join(choices) + ")"


def char_class(ranges: Iterable[Range]) -> str:
    parts = (
        _escaped(low) if low == high else f"{_escaped(low)}-{_escaped(high)}"
        for low, high in ranges
    )
    return "[" + "".join(parts) + "]"


def complement(ranges: Iterable[Range], last: int = _LAST) -> list[Range]:
    """Every code point up to `last` that is in none of the ranges."""
    return subtract([(0, last)], ranges)


def subtract(ranges: Iterable[Range], taken: Iterable[Range]) -> list[Range]:
    left = sorted(ranges)
    for low, high in taken:
        kept: list[Range] = []
        for start, end in left:
            if end < low or start > high:
                kept.append((start, end))
                continue
            if start < low:
                kept.append((start, low - 1))
            if end > high:
                kept.append((high + 1, end))
        left = kept
    return left


def _has(ranges: Iterable[Range], code: int) -> bool:
    return any(low <= code <= high for low, high in ranges)


def _escaped(code: int) -> str:
    """A code point inside quotes or brackets; only letters and digits stand for themselves."""
    if code < 0x80 and chr(code).isalnum():
        return chr(code)
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"
