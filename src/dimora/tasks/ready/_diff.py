"""Writes unified diffs, and applies them. Not a task itself.

The form is that of POSIX `diff -u` as git reads it, with `\\ No newline at end of file`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import NamedTuple

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_NO_END = "\\ No newline at end of file\n"


def diff_of(before: str, after: str, path: str) -> str:
    """What makes `after` of `before`; empty where they are the same."""
    lines = difflib.unified_diff(
        _lines(before), _lines(after), f"a/{path}", f"b/{path}", lineterm="\n"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n{_NO_END}" for line in lines)


def apply_diff(source: str, diff: str) -> str:
    """The source with every change of the diff.

    Raises:
        ValueError: a line that the diff takes away or keeps does not stand where it says.
    """
    old = _lines(source)
    new: list[str] = []
    at = 0
    for start, body in _hunks(diff):
        if not at <= start <= len(old):
            raise ValueError("a hunk begins outside of the source")
        new += old[at:start]
        at = start
        for sign, line in body:
            if sign in " -":
                if at >= len(old) or old[at] != line:
                    raise ValueError(f"line {at + 1} of the source is another")
                at += 1
            if sign in " +":
                new.append(line)
    return "".join([*new, *old[at:]])


def _hunks(diff: str) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """Of each hunk the index of its first old line, and its lines with their signs."""
    lines = _lines(diff)
    at = 0
    while at < len(lines):
        found = _HUNK.match(lines[at])
        at += 1
        if found is None:
            continue
        old_left, new_left = int(found[2] or 1), int(found[4] or 1)
        # An empty range is told by the line before it.
        start = int(found[1]) - (1 if old_left else 0)
        body: list[tuple[str, str]] = []
        while at < len(lines) and (old_left > 0 or new_left > 0 or lines[at] == _NO_END):
            line = lines[at]
            at += 1
            if line == _NO_END:
                if body:
                    body[-1] = (body[-1][0], body[-1][1].removesuffix("\n"))
                continue
            sign, words = (line[0], line[1:]) if line[0] in " +-" else (" ", line)
            old_left -= sign in " -"
            new_left -= sign in " +"
            body.append((sign, words))
        yield start, body


def _lines(text: str) -> list[str]:
    """Lines with their ends; only a line feed ends one, as in git."""
    return re.findall(r"[^\n]*\n|[^\n]+$", text)


class Line(NamedTuple):
    """A line of code; `number` counts from 1 in its file, `path` is known in a diff."""

    number: int
    words: str
    added: bool = False
    path: str = ""


def changed_lines(diff: str) -> Iterator[Line]:
    """Each line that a diff adds or keeps, with its number in the new file."""
    number, path = 0, ""
    old_left = new_left = 0
    for line in diff.splitlines():
        if found := _HUNK.match(line):
            number = int(found[3])
            old_left, new_left = int(found[2] or 1), int(found[4] or 1)
        elif old_left <= 0 and new_left <= 0:
            if named := re.match(r"\+\+\+ (?:b/)?(\S+)", line):
                path = named[1]
        elif line[:1] in ("+", " ", ""):
            yield Line(number, line[1:], line[:1] == "+", path)
            number += 1
            new_left -= 1
            old_left -= line[:1] != "+"
        elif line[:1] == "-":
            old_left -= 1


def is_diff(text: str) -> bool:
    return bool(re.search(r"^(?:@@ -\d|diff --git )", text, re.MULTILINE))
