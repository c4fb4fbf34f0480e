"""Texts and slides of OpenDocument, as LibreOffice writes them."""

from __future__ import annotations

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
        if tag == "body":
            reader.walk(part, 0)
    found = blocks.all()
    media_type = MEDIA_TYPES[1] if reader.slides else MEDIA_TYPES[0]
    return Document(
        name=name,
        media_type=media_type,
        blocks=found,
        pages=reader.slides,
        title=_title(package) or title_in(found),
    )


class _Reader:
    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self.slides = 0

    def walk(self, element: Any, depth: int, mark: str = "") -> None:
        if depth > _DEPTH:
            raise refusals.too_deep()
        for tag, child in children(element):
            if tag == "h":
                level = attribute(child, "outline-level")
                self._blocks.add(
                    "heading", _text(child), level=int(level) if level.isdecimal() else 1
                )
            elif tag == "p":
                self._paragraph(child, mark, depth)
            elif tag == "table":
                self._blocks.add_table(_rows(child))
            elif tag == "page":
                self._slide(child, depth)
            elif tag == "list-item":
                self.walk(child, depth + 1, "- ")
            elif tag not in _SILENT:
                self.walk(child, depth + 1, mark)

    def _paragraph(self, element: Any, mark: str, depth: int) -> None:
        text = _text(element)
        if text:
            self._blocks.add("item" if mark else "paragraph", mark + text)
        # Boxes with text stand within the paragraph they are bound to.
        for inner in element.iter("{*}text-box"):
            self.walk(inner, depth + 1)

    def _slide(self, element: Any, depth: int) -> None:
        self.slides += 1
        self._blocks.page = self.slides
        self._blocks.place = f"slide {self.slides}"
        self.walk(element, depth + 1)


def _text(element: Any) -> str:
    """Of a paragraph, with its line breaks, without notes and boxes."""
    parts: list[str] = []
    _gather(element, parts, 0)
    return "\n".join(one_line(line) for line in "".join(parts).split("\n")).strip()


def _gather(element: Any, parts: list[str], depth: int) -> None:
    if depth > _DEPTH:
        raise refusals.too_deep()
    parts.append((element.text or "").replace("\n", " "))
    for tag, child in children(element):
        if tag in ("line-break", "p"):
            parts.append("\n")
        if tag in ("tab", "s"):
            parts.append(" ")
        if tag == "note":
            parts.append(" (")
            _gather(child, parts, depth + 1)
            parts.append(") ")
        elif tag not in _SILENT and tag not in ("text-box", "frame"):
            _gather(child, parts, depth + 1)
        parts.append((child.tail or "").replace("\n", " "))


def _rows(table: Any) -> list[list[str]]:
    rows = []
    for row in table.iter("{*}table-row"):
        cells: list[str] = []
        for tag, cell in children(row):
            if tag in ("table-cell", "covered-table-cell"):
                repeated = attribute(cell, "number-columns-repeated")
                count = min(int(repeated), _REPEATED) if repeated.isdecimal() else 1
                cells += [_text(cell)] * count
        rows.append(cells)
    return rows


def _title(package: Package) -> str:
    if "meta.xml" not in package:
        return ""
    for one in parse_xml(package.read("meta.xml"), NAME).iter("{*}title"):
        return one_line(one.text or "")
    return ""
