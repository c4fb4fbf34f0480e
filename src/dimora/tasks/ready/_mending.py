"""Ends JSON that a limit cut off, after the last of its items that is whole. Not a task itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dimora.prompts.schema import violation

# A cut is mended near its end or not at all.
_TRIES_AT_MOST = 40
_CLOSING = {"{": "}", "[": "]"}


def mended(text: str, schema: dict[str, Any]) -> str:
    """The longest beginning of the text that is JSON of this schema once its brackets are
    closed; empty where there is none."""
    for _, (end, closing) in zip(range(_TRIES_AT_MOST), _ends(text), strict=False):
        candidate = text[:end] + closing
        if not violation(candidate, schema):
            return candidate
    return ""


def _ends(text: str) -> Iterator[tuple[int, str]]:
    """Where a value may have ended, the last such place first, and what closes all around it."""
    open_brackets: list[str] = []
    places: list[tuple[int, str]] = []
    in_string = escaped = False
    for at, character in enumerate(text):
        if in_string:
            in_string = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            in_string = True
        elif character in _CLOSING:
            open_brackets.append(character)
            places.append((at + 1, _closed(open_brackets)))
        elif character in "}]" and open_brackets:
            open_brackets.pop()
            places.append((at + 1, _closed(open_brackets)))
        elif character == ",":
            places.append((at, _closed(open_brackets)))
    return reversed(places)


def _closed(open_brackets: list[str]) -> str:
    return "".join(_CLOSING[each] for each in reversed(open_brackets))
