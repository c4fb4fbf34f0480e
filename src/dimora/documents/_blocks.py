"""Blocks as they are found: empty ones left out, tables in Markdown, the budget kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from dimora.documents.base import Block, Budget, Kind

# A longer table is cut, so that every part of it has its heads.
_ROWS_OF_A_TABLE = 100
# Rows are filled up to so many columns, not to those of a single odd row.
_WIDTH = 500
# What a block costs at least: a million of empty ones would be a text as well.
_LEAST_CHARACTERS = 20
_SPACES = re.compile(r"\s+")


class Blocks:
    """Collects the blocks of one document."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._found: list[Block] = []
        self.page = 0
        self.place = ""

    def add(self, kind: Kind, text: str, *, level: int = 0, place: str = "") -> None:
        """Spaces at the ends are dropped, and with them what is nothing but space."""
        text = text.strip("\n").rstrip() if kind == "code" else text.strip()
        if not text:
            return
        self._budget.take_characters(max(len(text), _LEAST_CHARACTERS))
        self._found.append(
            Block(kind=kind, text=text, level=level, page=self.page, place=place or self.place)
        )

    def add_table(self, rows: Iterable[Sequence[str]], *, numbered: bool = False) -> None:
        """Rows of cells, the heads first; `numbered` tells in `place` which rows they are."""
        for text, first, last in _tables(_squared(rows)):
            rows_here = f"rows {first}-{last}" if numbered else ""
            self.add("table", text, place=", ".join(p for p in (self.place, rows_here) if p))

    def last(self) -> Block | None:
        return self._found[-1] if self._found else None

    def all(self) -> tuple[Block, ...]:
        return tuple(self._found)


def one_line(text: str) -> str:
    """All white space as single spaces."""
    return _SPACES.sub(" ", text).strip()


def title_in(blocks: Sequence[Block]) -> str:
    """The first heading of the highest level near the beginning."""
    heads = [b for b in blocks[:20] if b.kind == "heading"]
    return min(heads, key=lambda b: b.level).text if heads else ""


def _squared(rows: Iterable[Sequence[str]]) -> Iterator[tuple[int, list[str]]]:
    """Rows that say something, with their number from 1."""
    for number, row in enumerate(rows, 1):
        cells = [one_line(cell).replace("|", "\\|") for cell in row]
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            yield number, cells


def _tables(rows: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[str, int, int]]:
    """Markdown, and the numbers of the first and last row in it."""
    number, heads = next(rows, (0, []))
    part: list[list[str]] = []
    first = last = number
    for number, cells in rows:
        if len(part) == _ROWS_OF_A_TABLE:
            yield _markdown(heads, part), first, last
            part, first = [], number
        part.append(cells)
        last = number
    if heads:
        yield _markdown(heads, part), first, last


def _markdown(heads: list[str], rows: list[list[str]]) -> str:
    width = min(max(len(cells) for cells in (heads, *rows)), _WIDTH)
    lines = [_line(heads, width), "|" + " --- |" * max(width, len(heads))]
    lines += [_line(cells, width) for cells in rows]
    return "\n".join(lines)


def _line(cells: list[str], width: int) -> str:
    return "| " + " | ".join(cells + [""] * (width - len(cells))) + " |"
