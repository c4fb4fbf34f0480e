"""Takes a text apart into what is translated and what stays, and puts it together again.

Not a task itself. The shape of a file (Markdown's marks, times of subtitles, keys of JSON,
identifiers of PO) and whole lines that are no language are kept out of a model's reach. What is
kept within a line is told by `_placeholders`.
"""

from __future__ import annotations

import fnmatch
import itertools
import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Literal

from dimora.core.errors import BadRequest
from dimora.tasks.ready._placeholders import Piece, mask, put_together, speaks

Form = Literal["text", "srt", "po", "json", "docx"]

# A line of a subtitle; what most rules for them allow.
CUE_CHARACTERS = 42
# Shorter lines are not broken for want of room: they are addresses, poems, lists.
_WRAPPED_CHARACTERS = 60
# Marks at the beginning of a line: quotes, headings, lists, boxes; and table rules, whole.
_MARKS = re.compile(r"\s*(?:>\s*)*(?:#{1,6}\s+|(?:[-*+•–]|\d{1,3}[.)])\s+(?:\[[ xX]\]\s+)?)?")
_FENCE = re.compile(r"\s*(```|~~~)")
_TABLE_ROW = re.compile(r"\s*\|.*\|\s*$")
_CUE_TIME = re.compile(
    r"\s*(?:\d+:)?\d{1,2}:\d\d[,.]\d{3}[ \t]*-->[ \t]*(?:\d+:)?\d{1,2}:\d\d[,.]\d{3}"
)
# A ZIP file in base64, by its first bytes.
_ZIP = re.compile(r"UEsDB[A-P][\w+/=\r\n]*\Z")


def form_of(text: str) -> Form:
    """What kind of file a text is, by its looks."""
    stripped = text.lstrip("\ufeff \t\r\n")
    if _ZIP.match(stripped):
        return "docx"
    if stripped[:1] in ("{", "[") and _is_json(stripped):
        return "json"
    if stripped.startswith("WEBVTT") or re.match(
        r"\d+[ \t]*\r?\n" + _CUE_TIME.pattern, stripped[:200]
    ):
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


def take_apart(text: str, form: Form, skip: Sequence[str] = ()) -> list[Piece]:
    """Pieces that are the text when they are joined; of JSON the keys that `skip` names stay.

    Raises BadRequest for a file of this form that is none.
    """
    match form:
        case "json":
            return _take_json(text, skip)
        case "srt":
            return _take_cues(text)
        case "po":
            return _take_po(text)
        case _:
            return _take_text(text)


def _take_text(text: str) -> list[Piece]:
    pieces: list[Piece] = []
    fence = ""
    lines = text.splitlines(keepends=True)
    at = 0
    while at < len(lines):
        line = lines[at]
        found = _FENCE.match(line)
        count = 1
        if fence or found:
            if found:
                fence = "" if fence == found[1] else fence or found[1]
            pieces.append(Piece(line))
        elif (count := _lines_of_paragraph(lines, at)) > 1:
            pieces += _take_paragraph(lines[at : at + count])
        else:
            pieces += _take_line(line)
        at += count
    return pieces


def _lines_of_paragraph(lines: Sequence[str], start: int) -> int:
    """How many lines from here are one paragraph that was broken where it reached its width."""
    if _TABLE_ROW.match(lines[start]) or len(lines[start].rstrip()) < _WRAPPED_CHARACTERS:
        return 1
    stop = start + 1
    while stop < len(lines) and _goes_on(lines[stop - 1], lines[stop]):
        stop += 1
    block = [line.rstrip() for line in lines[start:stop]]
    width = max(map(len, block))
    for number, (line, follows) in enumerate(itertools.pairwise(block), 1):
        # The next word would have fit: it was somebody's will to break the line here.
        if len(line) + 1 + len(follows.split()[0]) <= width:
            return number
    return len(block)


def _goes_on(line: str, follows: str) -> bool:
    found = _MARKS.match(follows)
    mark = found[0] if found else ""
    hard = line.rstrip("\r\n").endswith(("  ", "\\"))
    return not (
        hard or mark.strip() or _FENCE.match(follows) or _TABLE_ROW.match(follows)
    ) and speaks(follows)


def _take_paragraph(lines: Sequence[str]) -> list[Piece]:
    found = _MARKS.match(lines[0])
    start = found.end() if found else 0
    whole = "".join(lines)
    end = len(whole.rstrip())
    indent = lines[1][: len(lines[1]) - len(lines[1].lstrip())]
    width = max(len(line.rstrip()) for line in lines)
    return [
        Piece(whole[:start]),
        Piece(whole[start:end], True, width - start * (not indent), indent),
        Piece(whole[end:]),
    ]


def _take_line(line: str) -> list[Piece]:
    """A line's mark, its words, its end; the cells of a table's row one by one."""
    if _TABLE_ROW.match(line):
        cells = re.split(r"((?<!\s)\s++\|\s*|\|\s*)", line)
        return [Piece(cell, at % 2 == 0 and speaks(cell)) for at, cell in enumerate(cells)]
    found = _MARKS.match(line)
    start = found.end() if found else 0
    end = len(line.rstrip())
    words = line[start:end]
    if start >= end or not speaks(words):
        return [Piece(line)]
    return [Piece(line[:start]), Piece(words, True), Piece(line[end:])]


def _take_cues(text: str) -> list[Piece]:
    """Of SRT and WebVTT the lines between a time and the next empty line: each a piece where
    several people speak, else all of a cue together."""
    pieces: list[Piece] = []
    lines = text.splitlines(keepends=True)
    at = 0
    while at < len(lines):
        pieces.append(Piece(lines[at]))
        at += 1
        if not _CUE_TIME.match(lines[at - 1]):
            continue
        stop = at
        while stop < len(lines) and lines[stop].strip() and not _CUE_TIME.match(lines[stop]):
            stop += 1
        cue = lines[at:stop]
        at = stop
        several = any(re.match(r"\s*[-–]\s*\S", line) for line in cue)
        for words in cue if several else ["".join(cue)]:
            end = len(words.rstrip())
            pieces += [
                Piece(words[:end], speaks(words), 0 if several else CUE_CHARACTERS),
                Piece(words[end:]),
            ]
    return pieces


_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]')


def _take_json(text: str, skip: Sequence[str]) -> list[Piece]:
    """Strings that are values; an escape in them is undone and done again."""
    if not _is_json(text.lstrip("\ufeff")):
        raise BadRequest("the text is no JSON", param="text")
    pieces: list[Piece] = []
    at = 0
    # The key in each object that is open; a list has none of its own.
    keys: list[str] = []
    for found in _JSON_TOKEN.finditer(text):
        if found[0] in "{[":
            keys.append("")
        elif found[0] in "}]":
            keys.pop()
        elif re.match(r"\s*:", text[found.end() : found.end() + 64]):
            keys[-1] = str(json.loads(found[0]))
        elif not _is_skipped(keys, skip) and speaks(json.loads(found[0])):
            pieces += [Piece(text[at : found.start()]), Piece(found[0], True)]
            at = found.end()
    return [*pieces, Piece(text[at:])]


def _is_skipped(keys: Sequence[str], skip: Sequence[str]) -> bool:
    """Whether a pattern names the value's key, or its path with points: `id`, `meta.*`."""
    named = [key for key in keys if key]
    wanted = (".".join(named), named[-1] if named else "")
    return any(fnmatch.fnmatchcase(each, pattern) for pattern in skip for each in wanted)


_PO_ENTRY = re.compile(r'^(msgid|msgid_plural|msgstr(?:\[\d\])?) ((?:"(?:[^"\\]|\\.)*"\s*)+)', re.M)
_FUZZY = re.compile(r"^#,.*\bfuzzy\b", re.M)


def _take_po(text: str) -> list[Piece]:
    """An empty `msgstr` is filled with its `msgid`, to be translated; a filled one stays. So is one
    that is marked as fuzzy: it belongs to words of the past, and the mark goes."""
    pieces: list[Piece] = []
    at, before, source, plural, fuzzy = 0, 0, "", "", False
    for found in _PO_ENTRY.finditer(text):
        words = "".join(_unquoted(p) for p in re.findall(r'"(?:[^"\\]|\\.)*"', found[2]))
        if found[1] == "msgid":
            source, plural = words, ""
            fuzzy = bool(words) and _FUZZY.search(text[before : found.start()]) is not None
            if fuzzy:
                pieces += [
                    Piece(text[at:before]),
                    Piece(_without_fuzzy(text[before : found.start()])),
                ]
                at = found.start()
        elif found[1] == "msgid_plural":
            plural = words
        elif source and (fuzzy or not words):
            wanted = source if found[1] in ("msgstr", "msgstr[0]") or not plural else plural
            start = found.start(2)
            literal = json.dumps(wanted, ensure_ascii=False)
            pieces += [Piece(text[at:start]), Piece(literal, speaks(wanted))]
            at = start + len(found[2].rstrip())
        before = found.start(2) + len(found[2].rstrip())
    return [*pieces, Piece(text[at:])]


def _without_fuzzy(comments: str) -> str:
    """Without that flag, and without the words the entry had before."""
    kept = []
    for line in comments.splitlines(keepends=True):
        if line.startswith("#,"):
            flags = [flag.strip() for flag in line[2:].split(",")]
            others = [flag for flag in flags if flag != "fuzzy"]
            kept += [f"#, {', '.join(others)}\n"] if others else []
        elif not line.startswith("#|"):
            kept.append(line)
    return "".join(kept)


def _unquoted(literal: str) -> str:
    try:
        return str(json.loads(literal))
    except ValueError:
        raise BadRequest("a line of the PO file cannot be read", param="text") from None


def rewrapped(words: str, piece: Piece) -> str:
    """Words as lines, where the piece had been some; a cue's lines are about equally long."""
    if not piece.width:
        return words
    # No line is broken within a placeholder.
    masked, kept = mask(words)
    held = re.sub(r"<(\d+)>", lambda found: re.sub(r"\s", "\0", kept[int(found[1]) - 1]), masked)
    lines = list(_wrapped(held, piece.width, piece.indent))
    return "\n".join(lines).replace("\0", " ")


def _wrapped(words: str, width: int, indent: str) -> Iterator[str]:
    def lines_at(most: int) -> list[str]:
        return textwrap.wrap(
            words, most, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )

    lines = lines_at(max(width, len(indent) + 1))
    if width == CUE_CHARACTERS and len(lines) > 1:
        evenly = (lines_at(most) for most in range(len(words) // len(lines), width + 1))
        lines = next((each for each in evenly if len(each) == len(lines)), lines)
    yield from lines


__all__ = ["CUE_CHARACTERS", "Form", "form_of", "put_together", "rewrapped", "take_apart"]
