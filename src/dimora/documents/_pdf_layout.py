"""Lines on pages become headings, paragraphs, items and tables.

What a PDF holds is where letters stand. The rest is inferred here: from sizes, gaps and margins.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from dimora.documents._blocks import Blocks, one_line

_HEADING_SIZE = 1.13
_HEADING_CHARACTERS = 200
_BOLD_HEADING_CHARACTERS = 120
_LEVELS = 6
# Of the height of a line: a larger gap parts paragraphs.
_GAP = 0.55
_ITEM = re.compile(r"(?:[•◦▪●○■–—*·-]|\d{1,3}[.)]|[a-z][.)])\s+\S")
_ENDED = re.compile(r"[.:;!?…»”\"]\s*$")
# A line of a table of contents: a number, words, a page.
_IN_CONTENTS = re.compile(r"^\d.*\s\d+$|(?:\.\s?){4,}\d*$")
_LEADER = re.compile(r"(?:\.\s?){4,}\s*([\divxl]+)$")
_PAGE_DIGITS = 4
_DIGITS = re.compile(r"\d+")
_HYPHENATED = re.compile(r"[^\W\d_][-\u00ad]")


class Line(NamedTuple):
    """A line of text and its box in points; `size` is the height of its letters."""

    text: str
    left: float
    bottom: float
    right: float
    top: float
    size: float
    bold: bool


class Table(NamedTuple):
    """Cells of a ruled table, and where it stands."""

    left: float
    bottom: float
    right: float
    top: float
    rows: list[list[str]]

    def holds(self, line: Line) -> bool:
        x, y = (line.left + line.right) / 2, (line.bottom + line.top) / 2
        return self.left <= x <= self.right and self.bottom <= y <= self.top


class PageText(NamedTuple):
    """What was read of a page; `read` are the letters of a scanned one."""

    number: int
    lines: list[Line]
    tables: list[Table]
    height: float
    scanned: bool = False
    read: str = ""


def add_pages(
    pages: Sequence[PageText], outline: dict[tuple[int, str], int], blocks: Blocks
) -> None:
    """`outline` has levels by page and words in small letters."""
    running = _running(pages)
    sizes = _Sizes(pages, outline)
    for page in pages:
        blocks.page = page.number
        if page.read:
            blocks.add("paragraph", page.read)
        _Page(page, sizes, blocks).add(
            [ln for ln in page.lines if not _is_running(page, ln, running)]
        )


class _Sizes:
    """What the heights of letters mean in this document."""

    def __init__(self, pages: Sequence[PageText], outline: dict[tuple[int, str], int]) -> None:
        self._outline = outline
        written: Counter[float] = Counter()
        for page in pages:
            for line in page.lines:
                written[round(line.size, 1)] += len(line.text)
        self.body = written.most_common(1)[0][0] if written else 0.0
        larger = sorted((s for s in written if s > self.body * _HEADING_SIZE), reverse=True)
        # Sizes that hardly differ are the same level.
        self._steps: list[float] = []
        for size in larger:
            if not self._steps or size < self._steps[-1] * 0.94:
                self._steps.append(size)

    def level_of(self, page: int, group: list[Line], text: str) -> int:
        """That of a heading, 0 if the lines are none."""
        told = self._outline.get((page, text.casefold()))
        if told:
            return told
        if len(text) > _HEADING_CHARACTERS or not any(c.isalpha() for c in text):
            return 0
        size = group[0].size
        for level, step in enumerate(self._steps, 1):
            if size >= step * 0.94:
                return min(level, _LEVELS)
        if _IN_CONTENTS.search(text):
            return 0
        bold = all(line.bold for line in group) and size >= self.body * 0.94
        if bold and len(text) <= _BOLD_HEADING_CHARACTERS and not text.endswith((".", ",", ";")):
            return min(len(self._steps) + 1, _LEVELS)
        return 0


class _Page:
    """Groups the lines of one page; a table stands where its first line stood."""

    def __init__(self, page: PageText, sizes: _Sizes, blocks: Blocks) -> None:
        self._page = page
        self._sizes = sizes
        self._blocks = blocks
        self._waiting = list(page.tables)
        self._group: list[Line] = []
        self._has_contents = False

    def add(self, lines: list[Line]) -> None:
        self._has_contents = _lead_to_pages(lines)
        usual = Counter(round(line.right) for line in lines if len(line.text) > 30)
        right = max((r for r, n in usual.items() if n > 1), default=0)
        for line in lines:
            table = next((t for t in self._page.tables if t.holds(line)), None)
            if table is not None:
                self._close()
                if table in self._waiting:
                    self._waiting.remove(table)
                    self._blocks.add_table(table.rows)
                continue
            if self._group and self._parts(self._group[-1], line, right):
                self._close()
            self._group.append(line)
        self._close()
        for table in self._waiting:
            self._blocks.add_table(table.rows)

    def _parts(self, last: Line, line: Line, right: float) -> bool:
        """Whether a new paragraph begins with this line."""
        height = max(last.size, line.size)
        gap = last.bottom - line.top
        if abs(last.size - line.size) > height * 0.08 or last.bold != line.bold:
            return True
        if gap > height * _GAP or gap < -height * 1.5 or _ITEM.match(line.text):
            return True
        indented = line.left > last.left + height * 0.8 and not _ITEM.match(self._group[0].text)
        short = last.right < right - (right - last.left) * 0.15
        return (indented and gap > -height) or (short and bool(_ENDED.search(last.text)))

    def _close(self) -> None:
        group, self._group = self._group, []
        if not group:
            return
        text = _joined(group)
        level = self._sizes.level_of(self._page.number, group, one_line(text))
        if level:
            self._blocks.add("heading", one_line(text), level=level)
        elif self._has_contents and 2 * sum(
            bool(_LEADER.search(line.text)) for line in group
        ) >= len(group):
            self._blocks.add("navigation", text)
        else:
            self._blocks.add("item" if _ITEM.match(text) else "paragraph", text)


def _lead_to_pages(lines: list[Line]) -> bool:
    """Whether the leaders of a page lead to pages: several do, and to none before the last one.
    Prices and telephones stand behind leaders as well, and are what somebody looks for."""
    ends = [found[1] for line in lines if (found := _LEADER.search(line.text))]
    numbers = [end for end in ends if end.isdecimal()]
    if len(ends) < 2 or any(len(number) > _PAGE_DIGITS for number in numbers):
        return False
    return all(int(one) <= int(other) for one, other in pairwise(numbers))


def _joined(group: list[Line]) -> str:
    """Lines as one, words that were cut at their ends mended."""
    text = ""
    for line in group:
        if _HYPHENATED.fullmatch(text[-2:]) and line.text[:1].islower():
            text = text[:-1] + line.text
        else:
            text = f"{text} {line.text}" if text else line.text
    return text


def _running(pages: Sequence[PageText]) -> set[str]:
    """Heads and feet: lines at the edges that stand on at least half of the pages."""
    if len(pages) < 4:
        return set()
    seen: Counter[str] = Counter()
    for page in pages:
        seen.update({_DIGITS.sub("#", ln.text) for ln in page.lines if _at_edge(page, ln)})
    return {text for text, count in seen.items() if count >= max(3, len(pages) / 2)}


def _is_running(page: PageText, line: Line, running: set[str]) -> bool:
    return _at_edge(page, line) and _DIGITS.sub("#", line.text) in running


def _at_edge(page: PageText, line: Line) -> bool:
    middle = (line.top + line.bottom) / 2
    return middle > page.height * 0.92 or middle < page.height * 0.08
