"""Cuts a long text into parts that fit, at the coarsest seam there is. Not a task itself."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

# Coarse to fine: paragraphs, lines, sentences, words.
_SEAMS = (r"(?<=\n)\s*\n", r"(?<=\n)", r"(?<=[.!?;:])\s+", r"(?<=\s)")

Counter = Callable[[str], Awaitable[int]]


async def split_text(text: str, most_tokens: int, count: Counter) -> list[str]:
    """Parts of at most `most_tokens`, in order, of which nothing but white space is missing."""
    pieces = await _fitting(text, most_tokens, count, 0)
    parts: list[str] = []
    held, size = "", 0
    for piece, tokens in pieces:
        if held and size + tokens > most_tokens:
            parts.append(held)
            held, size = "", 0
        held, size = held + piece, size + tokens
    parts.append(held)
    return [part for part in parts if part.strip()]


async def _fitting(
    text: str, most_tokens: int, count: Counter, depth: int
) -> list[tuple[str, int]]:
    """Pieces with their sizes, none above the limit. A word without end is cut by characters."""
    # No token is shorter than a byte: what has so few needs no counting to be known to fit.
    tokens = await count(text)
    if tokens <= most_tokens:
        return [(text, tokens)]
    if depth == len(_SEAMS):
        half = len(text) // 2
        pieces = [text[:half], text[half:]] if half else [text]
        if not half:
            return [(text, tokens)]
    else:
        pieces = _cut(_SEAMS[depth], text)
    found: list[tuple[str, int]] = []
    for piece in pieces:
        found += await _fitting(piece, most_tokens, count, min(depth + 1, len(_SEAMS)))
    return found


def _cut(seam: str, text: str) -> list[str]:
    """The pieces between seams, each with the white space that ends it."""
    ends = [m.end() for m in re.finditer(seam, text) if 0 < m.end() < len(text)]
    starts = [0, *ends]
    return [text[a:b] for a, b in zip(starts, [*ends, len(text)], strict=True) if a < b]
