"""Texts of Word (Office Open XML): styles become headings and lists, notes follow the text."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dimora.documents import refusals
from dimora.documents._blocks import Blocks, one_line, title_in
from dimora.documents._packages import Package, has_member
from dimora.documents._xml import parse_xml
from dimora.documents.base import Budget, Document

if TYPE_CHECKING:
    from docx.document import Document as WordDocument

NAME = "Word document"
ENDINGS = (".docx", ".docm", ".dotx", ".dotm")
MEDIA_TYPES = ("application/vnd.openxmlformats-officedocument.wordprocessingml.document",)
EXTRA = ""

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_HEADING = re.compile(r"heading (\d)", re.IGNORECASE)
# What moved away stands in its new place too.
_UNREAD = (*(f"{_W}{name}" for name in ("pPr", "rPr", "txbxContent", "del", "moveFrom")), _FALLBACK)
_DEPTH = 200


def is_it(head: bytes, name: str) -> bool:
    return has_member(head, "word/")


def read(data: bytes, name: str, budget: Budget) -> Document:
    import docx

    package = Package(data, NAME, budget)
    document = docx.Document(_as_document(data, package))
    blocks = Blocks(budget)
    reader = _Reader(blocks, _styles(document))
    reader.walk(document.element.body, 0)
    for part in ("word/footnotes.xml", "word/endnotes.xml"):
        if part in package:
            reader.notes(parse_xml(package.read(part), NAME))
    found = blocks.all()
    return Document(
        name=name,
        media_type=MEDIA_TYPES[0],
        blocks=found,
        title=one_line(document.core_properties.title or "") or title_in(found),
        warnings=("hidden text was left out",) if reader.hidden else (),
    )


def _as_document(data: bytes, package: Package) -> io.BytesIO:
    """Templates and documents with macros say so in one place; the library wants a document."""
    types = package.read("[Content_Types].xml")
    odd = re.search(rb"(?:template|macroEnabled\w*)\.main\+xml|macroEnabled\.main\+xml", types)
    if odd is None:
        return io.BytesIO(data)
    import zipfile

    mended = re.sub(
        rb"application/[\w.-]*?(?:wordprocessingml\.template|ms-word[\w.]*)\.main\+xml",
        MEDIA_TYPES[0].encode() + b".main+xml",
        types,
    )
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as target:
        for member in package.names():
            same = package.read(member) if member != "[Content_Types].xml" else mended
            target.writestr(member, same)
    whole.seek(0)
    return whole


def _styles(document: WordDocument) -> dict[str, tuple[str, int]]:
    """By the id of a style: "heading" and its level, or "item"."""
    known: dict[str, tuple[str, int]] = {}
    for style in document.styles.element.iter(f"{_W}style"):
        named = style.find(f"{_W}name")
        name = named.get(f"{_W}val", "") if named is not None else ""
        heading = _HEADING.fullmatch(name)
        outline = style.find(f"{_W}pPr/{_W}outlineLvl")
        if heading:
            found = ("heading", int(heading[1]))
        elif name.lower() == "title":
            found = ("heading", 1)
        elif outline is not None and outline.get(f"{_W}val", "9") in "012345678":
            found = ("heading", int(outline.get(f"{_W}val")) + 1)
        elif name.lower().startswith("list "):
            found = ("item", 0)
        else:
            continue
        known[style.get(f"{_W}styleId", "")] = found
    return known


def _is_on(switch: Any) -> bool:
    """Whether a property that is on or off is there, and on (ST_OnOff)."""
    return switch is not None and switch.get(f"{_W}val", "on") not in ("0", "false", "off")


class _Reader:
    """Walks over paragraphs and tables; what was deleted or hidden is not read."""

    def __init__(self, blocks: Blocks, styles: dict[str, tuple[str, int]]) -> None:
        self._blocks = blocks
        self._styles = styles
        self.hidden = False

    def walk(self, element: Any, depth: int) -> None:
        if depth > _DEPTH:
            raise refusals.too_deep()
        for child in element:
            if child.tag == f"{_W}p":
                self._paragraph(child, depth)
            elif child.tag == f"{_W}tbl":
                self._blocks.add_table(self._rows(child))
            elif child.tag in (f"{_W}sdt", f"{_W}sdtContent", f"{_W}ins", f"{_W}customXml"):
                self.walk(child, depth + 1)

    def notes(self, root: Any) -> None:
        for note in root:
            if isinstance(note.tag, str) and not note.get(f"{_W}type"):
                text = " ".join(self._text(p) for p in note.iter(f"{_W}p"))
                number = note.get(f"{_W}id", "")
                self._blocks.add("paragraph", f"[{number}] {text}" if text.strip() else "")

    def _paragraph(self, paragraph: Any, depth: int) -> None:
        text = self._text(paragraph)
        kind, level = self._kind_of(paragraph)
        if kind == "heading":
            self._blocks.add("heading", one_line(text), level=level)
        elif kind == "item":
            self._blocks.add("item", f"- {text}" if text.strip() else "")
        else:
            self._blocks.add("paragraph", text)
        for box in paragraph.iter(f"{_W}txbxContent"):
            # Older programs are given the same box again, in another form.
            if next(box.iterancestors(_FALLBACK), None) is None:
                self.walk(box, depth + 1)

    def _kind_of(self, paragraph: Any) -> tuple[str, int]:
        properties = paragraph.find(f"{_W}pPr")
        if properties is None:
            return "paragraph", 0
        style = properties.find(f"{_W}pStyle")
        known = self._styles.get(style.get(f"{_W}val", "")) if style is not None else None
        outline = properties.find(f"{_W}outlineLvl")
        if known is None and outline is not None and outline.get(f"{_W}val", "9") in "012345678":
            known = ("heading", int(outline.get(f"{_W}val")) + 1)
        if known is None and properties.find(f"{_W}numPr") is not None:
            number = properties.find(f"{_W}numPr/{_W}numId")
            # Number 0 takes a paragraph out of its list.
            out = number is not None and number.get(f"{_W}val") == "0"
            known = ("paragraph" if out else "item", 0)
        return known or ("paragraph", 0)

    def _text(self, paragraph: Any) -> str:
        return "".join(self._runs(paragraph, 0)).strip()

    def _runs(self, element: Any, depth: int) -> Iterator[str]:
        if depth > _DEPTH:
            raise refusals.too_deep()
        for child in element:
            tag = child.tag
            if tag == f"{_W}t":
                yield child.text or ""
            elif tag in (f"{_W}tab", f"{_W}ptab"):
                yield "\t"
            elif tag in (f"{_W}br", f"{_W}cr"):
                yield "\n"
            elif tag == f"{_W}noBreakHyphen":
                yield "-"
            elif tag in (f"{_W}footnoteReference", f"{_W}endnoteReference"):
                yield f" [{child.get(f'{_W}id', '')}]"
            elif tag == f"{_W}r" and _is_on(child.find(f"{_W}rPr/{_W}vanish")):
                self.hidden = True
            elif tag not in _UNREAD:
                yield from self._runs(child, depth + 1)

    def _rows(self, table: Any) -> Iterator[list[str]]:
        for row in table.iter(f"{_W}tr"):
            cells: list[str] = []
            for cell in row.iter(f"{_W}tc"):
                # A table within a cell is part of its text.
                if next(cell.iterancestors(f"{_W}tr"), None) is not row:
                    continue
                cells.append(" ".join(self._text(p) for p in cell.iter(f"{_W}p")))
                span = cell.find(f"{_W}tcPr/{_W}gridSpan")
                width = span.get(f"{_W}val", "1") if span is not None else "1"
                cells += [""] * (min(int(width), 50) - 1 if width.isdecimal() else 0)
            if next(row.iterancestors(f"{_W}tbl"), None) is table:
                yield cells
