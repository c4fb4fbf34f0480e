"""Cuts a document into pieces by its structure and a budget of tokens.

Neighbours under one heading become one piece while they fit. What does not fit alone is cut at the
coarsest seam it has: a table between rows, each part under the head of its columns; code at blank
lines; text between sentences. Of the document's words none changes its place, and none is lost but
those of tables of contents and the like, which are found in place of what they lead to.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from dimora.documents.base import Block, Document
from dimora.tasks.knowing import Count, Piece

# Files whose pieces are of another number are read anew when they are added again: it goes up with
# what readers read, how that is cut, and which words of a piece are embedded.
VERSION = "3"
# Longer ones are sentences that look like headings; they would fill the pieces below them.
_HEADING_CHARACTERS = 120


class _Seam(NamedTuple):
    """A text may be cut behind what the pattern finds; an `outer` seam only where no blank follows.

    Patterns are linear in what they read, whoever wrote it: that is why they do not look ahead.
    """

    pattern: str
    outer: bool = False

    def ends(self, text: str) -> list[int]:
        ends = [found.end() for found in re.finditer(self.pattern, text)]
        return [at for at in ends if not text[at : at + 1].isspace()] if self.outer else ends


# Coarse to fine.
_TEXT_SEAMS = tuple(
    map(_Seam, (r"\n\s*\n", r"(?<=[.!?…])[\"»”')\]]*\s+", r"\n", r"(?<=[;:,])\s+", r"\s+"))
)
_CODE_SEAMS = (_Seam(r"\n\s*\n", outer=True), *map(_Seam, (r"\n\s*\n", r"\n", r"\s+")))
_LINES = re.compile(r"lines (\d+)-(\d+)")
# What a tokenizer makes of a letter, until it was asked; a guess beyond most languages.
_FIRST_RATIO = 0.35
# Guesses are for filling pieces; each piece is counted before it is done.
_CAUTION = 1.05


class _Unit(msgspec.Struct, frozen=True, kw_only=True):
    """A block, or a part of one, with the headings that lead to it."""

    kind: str
    text: str
    headings: tuple[str, ...]
    page: int
    place: str


async def cut(document: Document, count: Count, budget_tokens: int) -> AsyncGenerator[Piece, None]:
    """The pieces of a document and its attachments, in order.

    No piece has more than `budget_tokens`, unless a single character has. `count` is asked about
    once for each piece.
    """
    cutter = _Cutter(count, budget_tokens)
    number = 0
    for group in _groups(document):
        async for text, tokens, units in cutter.pieces_of(group):
            yield Piece(
                number=number,
                text=text,
                tokens=tokens,
                headings=units[0].headings,
                page=units[0].page,
                last_page=max(unit.page for unit in units),
                place=_place_of(units),
            )
            number += 1


def _groups(document: Document) -> Iterator[list[_Unit]]:
    """Units that may share a piece: neighbours under the same headings in the same place."""
    group: list[_Unit] = []
    for unit in _units(document, ""):
        if group and not _belong_together(group[-1], unit):
            yield group
            group = []
        group.append(unit)
    if group:
        yield group


def _belong_together(one: _Unit, other: _Unit) -> bool:
    if one.headings != other.headings:
        return False
    return one.place == other.place or bool(
        _LINES.fullmatch(one.place) and _LINES.fullmatch(other.place)
    )


def _units(document: Document, within: str) -> Iterator[_Unit]:
    path: list[tuple[int, str]] = []
    # Headings that nothing stood under yet, with the blocks they were.
    waiting: list[tuple[int, Block]] = []

    def unit(block: Block, headings: Sequence[str]) -> _Unit:
        place = " / ".join(part for part in (within, block.place) if part)
        return _Unit(
            kind=block.kind,
            text=block.text.strip("\n"),
            headings=tuple(headings),
            page=block.page,
            place=place,
        )

    def bare(level: int) -> Iterator[_Unit]:
        """A heading that ends without anything under it is text itself; those above it are told
        with it."""
        if waiting and waiting[-1][0] >= level:
            depth, block = waiting[-1]
            waiting.clear()
            yield unit(block, [text for at, text in path if at < depth])

    says_more = any(block.kind not in ("heading", "navigation") for block in document.blocks)
    for block in document.blocks:
        if not block.text.strip():
            continue
        if block.kind == "navigation" and says_more:
            waiting.clear()
            continue
        if block.kind == "heading" and len(block.text) <= _HEADING_CHARACTERS:
            level = max(1, block.level)
            yield from bare(level)
            path = [(at, text) for at, text in path if at < level]
            path.append((level, " ".join(block.text.split())))
            waiting.append((level, block))
            continue
        waiting.clear()
        yield unit(block, [text for _, text in path])
    yield from bare(0)
    for attachment in document.attachments:
        yield from _units(attachment, " / ".join(p for p in (within, attachment.name) if p))


class _Cutter:
    """Fills pieces by a guess of their tokens that each count makes better."""

    def __init__(self, count: Count, budget: int) -> None:
        self._count = count
        self._budget = max(1, budget)
        self._ratio = _FIRST_RATIO

    async def pieces_of(
        self, group: list[_Unit]
    ) -> AsyncGenerator[tuple[str, int, list[_Unit]], None]:
        """Text, tokens and units of each piece."""
        rest = [part for unit in group for part in self._parts(unit, self._ratio)]
        while rest:
            taken = self._as_many_as_fit(rest)
            text = _joined(rest[:taken])
            tokens = await self._counted(text)
            while tokens > self._budget and taken > 1:
                # The guess was too low: with what is known now, at least one less.
                taken = min(taken - 1, self._as_many_as_fit(rest))
                text = _joined(rest[:taken])
                tokens = await self._counted(text)
            if tokens > self._budget and len(rest[0].text) > 1:
                ratio = max(self._ratio, tokens / len(text))
                rest[:1] = self._parts(rest[0], ratio, halve=True)
                continue
            yield text, tokens, rest[:taken]
            rest = rest[taken:]

    async def _counted(self, text: str) -> int:
        tokens = await self._count(text)
        self._ratio = max(tokens, 1) / len(text)
        return tokens

    def _guess(self, characters: int) -> float:
        return characters * self._ratio * _CAUTION

    def _as_many_as_fit(self, units: list[_Unit]) -> int:
        characters = 0
        for at, unit in enumerate(units):
            characters += len(unit.text) + 2
            if at and self._guess(characters) > self._budget:
                return at
        return len(units)

    def _parts(self, unit: _Unit, ratio: float, *, halve: bool = False) -> list[_Unit]:
        """The unit, cut where it is surely or probably too long; `halve` cuts it in any case."""
        most = max(1, int(self._budget / (ratio * _CAUTION)))
        if halve:
            most = min(most, max(1, len(unit.text) // 2))
        if len(unit.text) <= most:
            return [unit]
        if unit.kind == "table":
            texts = _cut_table(unit.text, most)
        else:
            seams = _CODE_SEAMS if unit.kind == "code" else _TEXT_SEAMS
            texts = _cut_text(unit.text, most, seams)
        return [msgspec.structs.replace(unit, text=text) for text in texts]


def _cut_table(text: str, most: int) -> list[str]:
    """Rows in parts of at most `most` characters, each under the heads of the columns; a row that
    is too long for that goes without them."""
    lines = text.split("\n")
    heads = 2 if len(lines) > 2 and set(lines[1]) <= set("|-: ") else 1
    head, rows = "\n".join(lines[:heads]), lines[heads:]
    if not rows or len(head) > most // 2:
        return _cut_text(text, most, _TEXT_SEAMS[2:])
    parts: list[str] = []
    held: list[str] = []
    size = len(head)
    for row in rows:
        if held and size + len(row) + 1 > most:
            parts.append("\n".join([head, *held]))
            held, size = [], len(head)
        if len(head) + len(row) + 1 > most:
            parts += _cut_text(row, most, _TEXT_SEAMS[3:])
            continue
        held.append(row)
        size += len(row) + 1
    if held:
        parts.append("\n".join([head, *held]))
    return parts if head in parts[0] else [head, *parts]


def _cut_text(text: str, most: int, seams: tuple[_Seam, ...]) -> list[str]:
    """Parts of at most `most` characters between the coarsest seams; a word without end is cut
    anywhere."""
    if len(text) <= most:
        return [text] if text.strip() else []
    if not seams:
        return [text[at : at + most] for at in range(0, len(text), most)]
    ends = seams[0].ends(text)
    parts: list[str] = []
    begin = end = 0
    for after in [*ends, len(text)]:
        if after - begin > most and end > begin:
            parts += _cut_text(text[begin:end].strip("\n"), most, seams[1:])
            begin = end
        end = after
    parts += _cut_text(text[begin:].strip("\n"), most, seams[1:])
    return parts


def _joined(units: list[_Unit]) -> str:
    text = units[0].text
    for before, unit in pairwise(units):
        near = before.kind == unit.kind == "item"
        text += ("\n" if near else "\n\n") + unit.text
    return text


def _place_of(units: list[_Unit]) -> str:
    first, last = (_LINES.fullmatch(unit.place) for unit in (units[0], units[-1]))
    if first and last:
        return f"lines {first[1]}-{last[2]}"
    return units[0].place
