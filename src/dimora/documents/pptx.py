"""Slides of PowerPoint (Office Open XML): titles, texts, tables, notes."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

from dimora.documents import refusals
from dimora.documents._blocks import Blocks, one_line
from dimora.documents._packages import Package, has_member
from dimora.documents.base import Budget, Document

NAME = "PowerPoint presentation"
ENDINGS = (".pptx", ".pptm", ".ppsx", ".potx")
MEDIA_TYPES = ("application/vnd.openxmlformats-officedocument.presentationml.presentation",)
EXTRA = ""

_DEPTH = 50


def is_it(head: bytes, name: str) -> bool:
    return has_member(head, "ppt/")


def read(data: bytes, name: str, budget: Budget) -> Document:
    from pptx import Presentation
    from pptx.oxml.ns import qn

    Package(data, NAME, budget)
    presentation = Presentation(io.BytesIO(data))
    blocks = Blocks(budget)
    budget.take_pages(len(presentation.slides))
    hidden = False
    number = 0
    for number, slide in enumerate(presentation.slides, 1):
        if slide.element.get("show") in ("0", "false"):
            hidden = True
            continue
        blocks.page = number
        blocks.place = f"slide {number}"
        title = slide.shapes.title
        if title is not None:
            blocks.add("heading", one_line(title.text_frame.text), level=1)
        others = [s for s in slide.shapes if title is None or s.shape_id != title.shape_id]
        _read_shapes(others, blocks, qn("a:buNone"), 0)
        if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
            blocks.place = f"notes of slide {number}"
            blocks.add("paragraph", _text(slide.notes_slide.notes_text_frame))
    first = next((b.text for b in blocks.all() if b.kind == "heading"), "")
    return Document(
        name=name,
        media_type=MEDIA_TYPES[0],
        blocks=blocks.all(),
        pages=number,
        title=one_line(presentation.core_properties.title or "") or first,
        warnings=("hidden slides were left out",) if hidden else (),
    )


def _read_shapes(shapes: Iterable[Any], blocks: Blocks, no_mark: str, depth: int) -> None:
    if depth > _DEPTH:
        raise refusals.too_deep()
    for shape in shapes:
        if hasattr(shape, "shapes"):
            _read_shapes(shape.shapes, blocks, no_mark, depth + 1)
        elif getattr(shape, "has_table", False):
            blocks.add_table(
                [cell.text_frame.text for cell in row.cells] for row in shape.table.rows
            )
        elif getattr(shape, "has_text_frame", False):
            _read_paragraphs(shape, blocks, no_mark)


def _read_paragraphs(shape: Any, blocks: Blocks, no_mark: str) -> None:
    """Of the body of a slide each paragraph is an item; of a box of its own they are one text."""
    frame = shape.text_frame
    body = shape.is_placeholder and len(frame.paragraphs) > 1
    if not body:
        blocks.add("paragraph", _text(frame))
        return
    for paragraph in frame.paragraphs:
        text = one_line(paragraph.text)
        marked = text and next(paragraph._p.iter(no_mark), None) is None
        blocks.add("item" if marked else "paragraph", f"- {text}" if marked else text)


def _text(frame: Any) -> str:
    return "\n".join(one_line(paragraph.text) for paragraph in frame.paragraphs).strip()
