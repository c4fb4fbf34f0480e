"""Takes a text apart into what is translated and what stays, and puts it together again.

Not a task itself. Three things are kept out of a model's reach: the shape of a file (Markdown's
marks, times of subtitles, keys of JSON, identifiers of PO), whole lines that are no language, and
within a line the placeholders, addresses and code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from dimora.core.errors import BadRequest

Form = Literal["text", "srt", "po", "json"]

# What a program fills in or reads, and a reader never: in the order in which they are tried.
_PLACEHOLDER = re.compile(
    r"`[^`\n]+`"
    r"|https?://[^\s<>()\"']+"
    r"|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
    r"|\$\{[^{}\n]+\}|\{\{[^{}\n]+\}\}|\{[\w.:!,%-]*\}"
    r"|%\([\w.]+\)[#0 +-]*\d*(?:\.\d+)?[a-zA-Z]"
    r"|%(?:\d+\$)?[#0+-]*\d*(?:\.\d+)?(?:ll|l|h)?[sdifuxXeEgGcr@](?![a-zA-Z])"
    r"|</?[A-Za-z][^<>\n]*>"
    r"|&[a-z]+;|&#\d+;"
    r"|\\[nrt]"
    r"|\$\w+\b(?!\s?\d)"
)
# Marks at the beginning of a line: quotes, headings, lists, boxes; and table rules, whole.
_MARKS = re.compile(r"\s*(?:>\s*)*(?:#{1,6}\s+|(?:[-*+•–]|\d{1,3}[.)])\s+(?:\[[ xX]\]\s+)?)?")
_FENCE = re.compile(r"\s*(```|~~~)")
_SRT_TIME = re.compile(r"\d+:\d\d:\d\d[,.]\d{3}\s*-->\s*\d+:\d\d:\d\d[,.]\d{3}")
_LETTER = re.compile(r"[^\W\d_]{2}")


class Piece(msgspec.Struct):
    """Part of a text; only where `speaks` a language is it translated."""

    text: str
    speaks: bool = False


def form_of(text: str) -> Form:
    """What kind of file a text is, by its looks."""
    stripped = text.lstrip("\ufeff \t\r\n")
    if stripped[:1] in ("{", "[") and _is_json(stripped):
        return "json"
    if re.match(r"\d+\s*\n", stripped) and _SRT_TIME.search(stripped[:200]):
        return "srt"
    if re.search(r"^msgid \"", text, re.MULTILINE) and re.search(
        r"^msgstr(\[\d\])? \"", text, re.MULTILINE
    ):
        return "po"
    return "text"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def take_apart(text: str, form: Form) -> list[Piece]:
    """Pieces that are the text when they are joined.

    Raises BadRequest for a file of this form that is none.
    """
    return _TAKING[form](text)


def _take_text(text: str) -> list[Piece]:
    pieces: list[Piece] = []
    fenced = False
    for line in text.splitlines(keepends=True):
        if _FENCE.match(line):
            fenced = not fenced
            pieces.append(Piece(line))
        elif fenced:
            pieces.append(Piece(line))
        else:
            pieces += _take_line(line)
    return pieces


def _take_line(line: str) -> list[Piece]:
    """A line's mark, its words, its end; the cells of a table's row one by one."""
    if re.match(r"\s*\|.*\|\s*$", line):
        cells = re.split(r"(\s*\|\s*)", line)
        return [Piece(cell, at % 2 == 0 and speaks(cell)) for at, cell in enumerate(cells)]
    found = _MARKS.match(line)
    start = found.end() if found else 0
    end = len(line.rstrip())
    words = line[start:end]
    if start >= end or not speaks(words):
        return [Piece(line)]
    return [Piece(line[:start]), Piece(words, True), Piece(line[end:])]


def _take_srt(text: str) -> list[Piece]:
    pieces: list[Piece] = []
    lines = text.splitlines(keepends=True)
    for at, line in enumerate(lines):
        follows = lines[at + 1] if at + 1 < len(lines) else ""
        is_number = line.strip().isdigit() and _SRT_TIME.search(follows) is not None
        if is_number or _SRT_TIME.search(line) or not speaks(line):
            pieces.append(Piece(line))
        else:
            end = len(line.rstrip())
            pieces += [Piece(line[:end], True), Piece(line[end:])]
    return pieces


def _take_json(text: str) -> list[Piece]:
    """Strings that are values; an escape in them is undone and done again."""
    if not _is_json(text.lstrip("\ufeff")):
        raise BadRequest("the text is no JSON", param="text")
    pieces: list[Piece] = []
    at = 0
    for found in re.finditer(r'"(?:[^"\\]|\\.)*"', text):
        is_key = re.match(r"\s*:", text[found.end() :][:64]) is not None
        if is_key or not speaks(json.loads(found[0])):
            continue
        pieces += [Piece(text[at : found.start()]), Piece(found[0], True)]
        at = found.end()
    return [*pieces, Piece(text[at:])]


_PO_ENTRY = re.compile(r'^(msgid|msgid_plural|msgstr(?:\[\d\])?) ((?:"(?:[^"\\]|\\.)*"\s*)+)', re.M)


def _take_po(text: str) -> list[Piece]:
    """An empty `msgstr` is filled with its `msgid`, to be translated; a filled one stays."""
    pieces: list[Piece] = []
    at, source, plural = 0, "", ""
    for found in _PO_ENTRY.finditer(text):
        words = "".join(_unquoted(p) for p in re.findall(r'"(?:[^"\\]|\\.)*"', found[2]))
        if found[1] == "msgid":
            source, plural = words, ""
        elif found[1] == "msgid_plural":
            plural = words
        elif not words and source:
            wanted = source if found[1] in ("msgstr", "msgstr[0]") or not plural else plural
            start = found.start(2)
            stop = start + len(found[2].rstrip())
            literal = json.dumps(wanted, ensure_ascii=False)
            pieces += [Piece(text[at:start]), Piece(literal, speaks(wanted))]
            at = stop
    return [*pieces, Piece(text[at:])]


def _unquoted(literal: str) -> str:
    try:
        return str(json.loads(literal))
    except ValueError:
        raise BadRequest("a line of the PO file cannot be read", param="text") from None


_TAKING: dict[Form, Callable[[str], list[Piece]]] = {
    "text": _take_text,
    "srt": _take_srt,
    "json": _take_json,
    "po": _take_po,
}


def speaks(words: str) -> bool:
    """Whether there is language in it, beside placeholders, numbers and signs."""
    return _LETTER.search(_PLACEHOLDER.sub(" ", words)) is not None


def put_together(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def mask(words: str) -> tuple[str, tuple[str, ...]]:
    """The words with `<1>`, `<2>`, ... for each placeholder, and what those are."""
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found[0])
        return f"<{len(kept)}>"

    return _PLACEHOLDER.sub(keep, words), tuple(kept)


def unmask(words: str, kept: Sequence[str]) -> str | None:
    """The words with their placeholders again; None unless each mark stands there just once."""
    marks = re.findall(r"<(\d+)>", words)
    if sorted(marks, key=int) != [str(n) for n in range(1, len(kept) + 1)]:
        return None
    return re.sub(r"<(\d+)>", lambda found: kept[int(found[1]) - 1], words)


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
