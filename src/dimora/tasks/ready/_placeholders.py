"""Hides from a model what a program fills in or reads, and puts it back.

Placeholders, addresses, tags, code, and the address of a Markdown link. Not a task itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

# In the order in which they are tried. No part may be read in two ways: that takes forever.
_PLACEHOLDER = re.compile(
    r"`[^`\n]+`"
    r"|!?\[(?=[^\[\]\n]*\](?:\(|\[))"
    r"|\]\([^()\n]*(?:\([^()\n]*\)[^()\n]*)?\)|\]\[[^\[\]\n]*\]"
    r"|https?://[^\s<>()\"']+"
    r"|(?<![\w.+-])[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+"
    # A plural or a choice of ICU, two levels deep.
    r"|\{\s*\w+\s*,\s*(?:plural|select|selectordinal)\s*,(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}"
    r"|\$\{[^{}\n]+\}|\{\{[^{}\n]+\}\}|\{%[^{}\n]+%\}"
    r"|\{ ?[$\w.:!,%<>^+#\[\]-]* ?\}"
    r"|%\([\w.]+\)[#0 +-]*+\d*+(?:\.\d++)?+[a-zA-Z]"
    r"|%(?:\d++\$)?[#0+-]*+\d*+(?:\.\d++)?+(?:ll|l|h)?[sdifuxXeEgGcr@](?![a-zA-Z])"
    r"|%%|%[1-9]\b"
    r"|<!--(?:[^<\n]|<(?!!--))*?-->"
    r"|</?[A-Za-z][^<>\n]*>"
    r"|&[a-z]+;|&#\d+;"
    r"|\\[nrt]"
    r"|\$\w+\b(?!\s?\d)"
)
_LETTER = re.compile(r"[^\W\d_]{2}")
_CHOICE = re.compile(r"\{\s*\w+\s*,\s*(?:plural|select|selectordinal)\s*,")


class Piece(msgspec.Struct):
    """Part of a text; only where `speaks` a language is it translated. Lines that are broken at
    `width` characters are one piece; those after the first begin with `indent`."""

    text: str
    speaks: bool = False
    width: int = 0
    indent: str = ""


def speaks(words: str) -> bool:
    """Whether there is language in it, beside placeholders, numbers and signs."""
    return _LETTER.search(_PLACEHOLDER.sub(" ", words)) is not None


def holds_choice(words: str) -> bool:
    """Whether a plural or choice of ICU stands in it, whose words nobody translates."""
    return _CHOICE.search(words) is not None


def mask(words: str) -> tuple[str, tuple[str, ...]]:
    """The words with `<1>`, `<2>`, ... for each placeholder, and what those are."""
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found[0])
        return f"<{len(kept)}>"

    return _PLACEHOLDER.sub(keep, words), tuple(kept)


def unmask(words: str, kept: Sequence[str]) -> str | None:
    """The words with their placeholders again; None unless each mark stands there just once, and
    those that open and close something stand in their order."""
    marks = re.findall(r"<(\d+)>", words)
    if sorted(marks, key=int) != [str(n) for n in range(1, len(kept) + 1)]:
        return None
    order = [int(mark) for mark in marks if _is_bracket(kept[int(mark) - 1])]
    if order != sorted(order):
        return None
    return re.sub(r"<(\d+)>", lambda found: kept[int(found[1]) - 1], words)


def _is_bracket(placeholder: str) -> bool:
    return placeholder[0] in "<[]!"


def between(words: str) -> list[Piece]:
    """The words between placeholders, and those; for when a model loses marks."""
    pieces: list[Piece] = []
    at = 0
    for found in _PLACEHOLDER.finditer(words):
        pieces += [*_bare(words[at : found.start()]), Piece(found[0])]
        at = found.end()
    return [*pieces, *_bare(words[at:])]


def _bare(words: str) -> list[Piece]:
    """Words without the blanks around them, which no model keeps."""
    start, end = len(words) - len(words.lstrip()), len(words.rstrip())
    if start >= end:
        return [Piece(words)]
    return [Piece(words[:start]), Piece(words[start:end], speaks(words)), Piece(words[end:])]


def placeholders_of(text: str) -> list[str]:
    return sorted(_PLACEHOLDER.findall(text))


def put_together(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces)
