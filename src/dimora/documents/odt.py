"""Texts and slides of OpenDocument, as LibreOffice writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dimora.documents import refusals
from dimora.documents._blocks import Blocks, one_line, title_in
from dimora.documents._packages import Package, declares
from dimora.documents._xml import attribute, children, parse_xml
from dimora.documents.base import Budget, Document

NAME = "OpenDocument"
ENDINGS = (".odt", ".ott", ".odp")
MEDIA_TYPES = (
    "application/vnd.oasis.opendocument.text",
    "application/vnd.oasis.opendocument.presentation",
)
EXTRA = ""

_SILENT = frozenset(("annotation", "tracked-changes", "sequence-decls", "forms", "note-citation"))
_DEPTH = 200
# A cell may say that it stands for thousands like it.
_REPEATED = 50


def is_it(head: bytes, name: str) -> bool:
    return declares(head, *MEDIA_TYPES, f"{MEDIA_TYPES[0]}-template")


def read(data: bytes, name: str, budget: Budget) -> Document:
    package = Package(data, NAME, budget)
    if "META-INF/manifest.xml" in package and b"encryption-data" in package.read(
        "META-INF/manifest.xml"
    ):
        raise refusals.sealed()
    blocks = Blocks(budget)
    root = parse_xml(package.read("content.xml"), NAME)
    reader = _Reader(blocks)
    for tag, part in children(root):
        if tag == "automatic-styles":
            reader.hiding = _hiding_styles(part)
        elif tag == "body":
            reader.walk(part, 0)
    found = blocks.all()
    media_type = MEDIA_TYPES[1] if reader.slides else MEDIA_TYPES[0]
    return Document(
        name=name,
        media_type=media_type,
        blocks=found,
        pages=reader.slides,
        title=_title(package) or title_in(found),
        warnings=tuple(reader.warnings),
    )


def _hiding_styles(styles: Any) -> frozenset[str]:
    """The names of those that hide a slide or text."""
    return frozenset(
        attribute(style, "name")
        for _, style in children(styles)
        for _, properties in children(style)
        if attribute(properties, "visibility") == "hidden"
        or attribute(properties, "display") == "none"
    )


class _Reader:
    """Walks over a body. `hiding` are the names of styles of what nobody sees."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self.hiding: frozenset[str] = frozenset()
        self.slides = 0
        self.warnings: dict[str, None] = {}

    def walk(self, element: Any, depth: int, mark: str = "") -> None:
        if depth > _DEPTH:
            raise refusals.too_deep()
        for tag, child in children(element):
            if tag == "page":
                self._slide(child, depth)
            elif tag in _SILENT or self._is_hidden(child):
                pass
            elif tag == "h":
                level = attribute(child, "outline-level")
                self._blocks.add(
                    "heading", self._text(child), level=int(level) if level.isdecimal() else 1
                )
                self._boxes(child, depth)
            elif tag == "p":
                text = self._text(child)
                if text:
                    self._blocks.add("item" if mark else "paragraph", mark + text)
                self._boxes(child, depth)
            elif tag == "table":
                self._blocks.add_table([self._cells(row) for row in _own_rows(child)])
            elif tag == "list-item":
                self.walk(child, depth + 1, "- ")
            else:
                self.walk(child, depth + 1, mark)

    def _slide(self, element: Any, depth: int) -> None:
        self.slides += 1
        if attribute(element, "style-name") in self.hiding:
            self.warnings["hidden slides were left out"] = None
            return
        self._blocks.page = self.slides
        self._blocks.place = f"slide {self.slides}"
        self.walk(element, depth + 1)

    def _is_hidden(self, element: Any) -> bool:
        hidden = (
            attribute(element, "style-name") in self.hiding
            or attribute(element, "display") == "none"
        )
        if hidden:
            self.warnings["hidden text was left out"] = None
        return hidden

    def _boxes(self, element: Any, depth: int) -> None:
        """Boxes with text stand within the paragraph they are bound to. Those within a box are its
        paragraphs' own."""
        for tag, child in children(element):
            if tag in _SILENT or self._is_hidden(child):
                continue
            if tag == "text-box":
                self.walk(child, depth + 1)
            else:
                self._boxes(child, depth)

    def _text(self, element: Any, *, boxes: bool = False) -> str:
        """Of a paragraph, with its line breaks and notes; the text of boxes only if wanted."""
        parts: list[str] = []
        self._gather(element, parts, 0, boxes)
        return "\n".join(one_line(line) for line in "".join(parts).split("\n")).strip()

    def _gather(self, element: Any, parts: list[str], depth: int, boxes: bool) -> None:
        if depth > _DEPTH:
            raise refusals.too_deep()
        parts.append((element.text or "").replace("\n", " "))
        for tag, child in children(element):
            if tag in ("line-break", "p"):
                parts.append("\n")
            if tag in ("tab", "s"):
                parts.append(" ")
            within = tag not in _SILENT and (boxes or tag not in ("text-box", "frame"))
            if within and not self._is_hidden(child):
                opening, closing = (" (", ") ") if tag == "note" else ("", "")
                parts.append(opening)
                self._gather(child, parts, depth + 1, boxes)
                parts.append(closing)
            parts.append((child.tail or "").replace("\n", " "))

    def _cells(self, row: Any) -> list[str]:
        cells: list[str] = []
        for tag, cell in children(row):
            if tag in ("table-cell", "covered-table-cell"):
                repeated = attribute(cell, "number-columns-repeated")
                count = min(int(repeated), _REPEATED) if repeated.isdecimal() else 1
                cells += [self._text(cell, boxes=True)] * count
        return cells


def _own_rows(table: Any) -> Iterator[Any]:
    """Not those of tables within its cells, whose words are those of the cells."""
    for tag, child in children(table):
        if tag == "table-row":
            yield child
        elif tag in ("table-rows", "table-header-rows", "table-row-group"):
            yield from _own_rows(child)


def _title(package: Package) -> str:
    if "meta.xml" not in package:
        return ""
    for one in parse_xml(package.read("meta.xml"), NAME).iter("{*}title"):
        return one_line(one.text or "")
    return ""
