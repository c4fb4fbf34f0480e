"""Markdown: headings, lists, tables and code as they are marked, comments left out."""

from __future__ import annotations

import re
from collections.abc import Callable

from dimora.documents._blocks import Blocks, title_in
from dimora.documents._decoding import decoded, is_text
from dimora.documents.base import Budget, Document

NAME = "Markdown"
ENDINGS = (".md", ".markdown", ".mdown", ".mkd", ".mdx")
MEDIA_TYPES = ("text/markdown",)
EXTRA = ""

_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_FENCE = re.compile(r"\s{0,12}(`{3,}|~{3,})")
_ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+\S")
_TABLE_RULE = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_RULE = re.compile(r" {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$")
# Code and escaped signs are passed over; where no end follows, no later comment has one.
_COMMENT = re.compile(
    r"\\[\\`<]|(`++)(?:[^`]++|(?!\1(?!`))`++)*+\1|`++|(?P<comment><!(?=--).*?-->)|<!--.*",
    re.DOTALL,
)


def is_it(head: bytes, name: str) -> bool:
    return name.lower().endswith(ENDINGS) and is_text(head)


def read(data: bytes, name: str, budget: Budget) -> Document:
    text = decoded(data).replace("\r\n", "\n").replace("\r", "\n")
    blocks = Blocks(budget)
    _Lines(text.split("\n"), blocks).read()
    found = blocks.all()
    return Document(name=name, media_type=MEDIA_TYPES[0], blocks=found, title=title_in(found))


class _Lines:
    """Walks over the lines; each reader takes those that are its own."""

    def __init__(self, lines: list[str], blocks: Blocks) -> None:
        self._lines = lines
        self._blocks = blocks
        self._at = 0
        self._last_end = max((n for n, line in enumerate(lines) if "-->" in line), default=-1)
        self._open: list[str] = []
        self._readers: list[Callable[[str], bool]] = [
            self._comment,
            self._fence,
            self._heading,
            self._table,
            self._underline,
            self._item,
        ]

    def read(self) -> None:
        self._front_matter()
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if not line.strip():
                self._close()
                self._at += 1
            elif not any(reader(line) for reader in self._readers):
                if _RULE.match(line):
                    self._close()
                else:
                    self._open.append(line.strip())
                self._at += 1
        self._close()

    def _close(self) -> None:
        text = _without_comments("\n".join(self._open))
        self._open = []
        self._blocks.add("item" if _ITEM.match(text) else "paragraph", text)

    def _front_matter(self) -> None:
        if self._lines and self._lines[0].strip() == "---":
            for end, line in enumerate(self._lines[1:100], 1):
                if line.strip() in ("---", "..."):
                    self._blocks.add("code", "\n".join(self._lines[1:end]))
                    self._at = end + 1
                    return

    def _comment(self, line: str) -> bool:
        """One that begins a line may hold empty ones; one that is never closed is text."""
        if not line.lstrip().startswith("<!--") or self._at > self._last_end:
            return False
        for end in range(self._at, self._last_end + 1):
            _, closed, after = self._lines[end].partition("-->")
            if closed:
                self._lines[end] = after
                self._at = end
                return True
        return False

    def _fence(self, line: str) -> bool:
        fence = _FENCE.match(line)
        if fence is None:
            return False
        self._close()
        end = self._at + 1
        while end < len(self._lines) and not self._lines[end].strip().startswith(fence[1]):
            end += 1
        self._blocks.add("code", "\n".join(self._lines[self._at + 1 : end]))
        self._at = end + 1
        return True

    def _heading(self, line: str) -> bool:
        heading = _HEADING.match(line)
        if heading is None:
            return False
        self._close()
        self._blocks.add("heading", _without_comments(heading[2] or ""), level=len(heading[1]))
        self._at += 1
        return True

    def _underline(self, line: str) -> bool:
        """A line of = or - below a single line makes it a heading."""
        mark = _UNDERLINE.match(line)
        if mark is None or len(self._open) != 1 or _ITEM.match(self._open[0]):
            return False
        text = _without_comments(self._open.pop())
        self._blocks.add("heading", text, level=1 if mark[1][0] == "=" else 2)
        self._at += 1
        return True

    def _table(self, line: str) -> bool:
        after = self._lines[self._at + 1] if self._at + 1 < len(self._lines) else ""
        if "|" not in line or "|" not in after or not _TABLE_RULE.match(after):
            return False
        self._close()
        end = self._at + 2
        while end < len(self._lines) and "|" in self._lines[end]:
            end += 1
        rows = [self._lines[self._at], *self._lines[self._at + 2 : end]]
        self._blocks.add_table(_cells(_without_comments(row)) for row in rows)
        self._at = end
        return True

    def _item(self, line: str) -> bool:
        if not _ITEM.match(line):
            return False
        self._close()
        self._open.append(line.rstrip())
        self._at += 1
        return True


def _without_comments(text: str) -> str:
    """What readers of the page do not see is not read here either."""
    return _COMMENT.sub(lambda found: "" if found["comment"] else found[0], text)


def _cells(row: str) -> list[str]:
    inside = row.strip().removeprefix("|")
    inside = inside[:-1] if inside.endswith("|") and not inside.endswith("\\|") else inside
    return [cell.replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", inside)]
