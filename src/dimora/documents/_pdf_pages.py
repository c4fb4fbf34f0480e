"""One page of a PDF as pdfium sees it: lines of text with their places, ruled tables.

Lengths are points (1/72 inch), y grows upwards, as in PDF 32000-1, 8.3.
"""

from __future__ import annotations

import ctypes
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pypdfium2.raw as pdfium

from dimora.documents._pdf_layout import Line, PageText, Table
from dimora.documents._rulings import Edge, grids_of

if TYPE_CHECKING:
    import numpy
    from pypdfium2 import PdfDocument, PdfPage, PdfTextPage

_LINE = re.compile(r"[^\r\n]*[^\s]")
# How pdfium tells of a word that was cut at the end of a line; it goes on in the same line here.
_HYPHEN = re.compile("[\x02\ufffe](.?)")
# Drawings have many paths; a page with more of them than this is no table.
_PATHS = 4000
_EDGES = 8000
_SEGMENTS_OF_A_PATH = 2000
_OBJECTS = 100_000
# A page is a scan when a picture covers as much of it and hardly a letter stands on it.
_SCAN_SHARE = 0.5
_SCAN_LETTERS = 10
_SCAN_SCALE = 200 / 72
_SCAN_SIDE = 3000


class _Drawn(NamedTuple):
    edges: list[Edge]
    pictures_area: float


def read_page(document: PdfDocument, number: int) -> PageText:
    """Raises PdfiumError for a page that cannot be read. `number` counts from 1."""
    page = document[number - 1]
    try:
        if _has_fields(page):
            page = _with_fields(document, page, number)
        text_page = page.get_textpage()
        try:
            lines = _lines(text_page)
            drawn = _drawn(page)
            tables = _tables(text_page, drawn.edges)
        finally:
            text_page.close()
        width, height = page.get_size()
    finally:
        page.close()
    letters = sum(len(line.text) for line in lines)
    covered = drawn.pictures_area > width * height * _SCAN_SHARE
    return PageText(number, lines, tables, height, scanned=covered and letters < _SCAN_LETTERS)


def picture_of(document: PdfDocument, number: int) -> numpy.ndarray:
    """The page as height x width x 3 (BGR), as sharp as letters need it."""
    page = document[number - 1]
    try:
        scale = min(_SCAN_SCALE, _SCAN_SIDE / max(*page.get_size(), 1.0))
        bitmap = page.render(scale=scale, rev_byteorder=False)
        try:
            picture: numpy.ndarray = bitmap.to_numpy()[:, :, :3].copy()
            return picture
        finally:
            bitmap.close()
    finally:
        page.close()


def _has_fields(page: PdfPage) -> bool:
    """Whether there are fields of a form, whose contents are no part of the page's text."""
    count = min(pdfium.FPDFPage_GetAnnotCount(page), 1000)
    for place in range(count):
        annotation = pdfium.FPDFPage_GetAnnot(page, place)
        if annotation:
            kind = pdfium.FPDFAnnot_GetSubtype(annotation)
            pdfium.FPDFPage_CloseAnnot(annotation)
            if kind == pdfium.FPDF_ANNOT_WIDGET:
                return True
    return False


def _with_fields(document: PdfDocument, page: PdfPage, number: int) -> PdfPage:
    """The page with what its fields show written on it."""
    if pdfium.FPDFPage_Flatten(page, pdfium.FLAT_NORMALDISPLAY) != pdfium.FLATTEN_SUCCESS:
        return page
    page.close()
    return document[number - 1]


def _lines(text_page: PdfTextPage) -> list[Line]:
    text = text_page.get_text_range()
    # Characters beyond the first plane take two places in what pdfium counts.
    wide = not text.isascii() and max(text) > "\uffff"
    measure = _Measure(text_page, wide)
    lines = []
    for found in _LINE.finditer(text):
        written = found[0].lstrip()
        begin = found.end() - len(written)
        if wide:
            begin += sum(c > "\uffff" for c in text[:begin])
        line = measure.line(written, begin)
        if line is not None:
            lines.append(line)
    return lines


def _mended(cut: re.Match[str]) -> str:
    """A word that goes on in small letters was cut, another one is joined by a hyphen."""
    return cut[1] if cut[1].islower() else f"-{cut[1]}"


class _Measure:
    """Asks pdfium where a line stands and how its letters look: at its ends and in its middle."""

    def __init__(self, text_page: PdfTextPage, wide: bool) -> None:
        self._wide = wide
        self._page = text_page.raw
        self._box = pdfium.FS_RECTF()
        self._name = ctypes.create_string_buffer(128)
        self._flags = ctypes.c_int()

    def line(self, text: str, begin: int) -> Line | None:
        length = len(text) + (sum(c > "\uffff" for c in text) if self._wide else 0)
        places = (begin, begin + length // 2, begin + length - 1)
        boxes = [box for box in map(self._box_of, places) if box is not None]
        if not boxes:
            return None
        heights = sorted(box[3] - box[1] for box in boxes)
        return Line(
            _HYPHEN.sub(_mended, text),
            min(box[0] for box in boxes),
            min(box[1] for box in boxes),
            max(box[2] for box in boxes),
            max(box[3] for box in boxes),
            heights[len(heights) // 2],
            self._is_bold(places[0]) and self._is_bold(places[2]),
        )

    def _box_of(self, place: int) -> tuple[float, float, float, float] | None:
        index = pdfium.FPDFText_GetCharIndexFromTextIndex(self._page, place)
        box = self._box
        if index < 0 or not pdfium.FPDFText_GetLooseCharBox(self._page, index, box):
            return None
        if box.right <= box.left and box.top <= box.bottom:
            return None
        return (box.left, box.bottom, box.right, box.top)

    def _is_bold(self, place: int) -> bool:
        index = pdfium.FPDFText_GetCharIndexFromTextIndex(self._page, place)
        size = pdfium.FPDFText_GetFontInfo(self._page, index, self._name, 128, self._flags)
        return 0 < size <= 128 and b"bold" in self._name.value.lower()


def _drawn(page: PdfPage) -> _Drawn:
    """Straight edges that are drawn on the page, and how much of it pictures cover."""
    edges: list[Edge] = []
    pictures = 0.0
    paths = 0
    for place in range(min(pdfium.FPDFPage_CountObjects(page), _OBJECTS)):
        one = pdfium.FPDFPage_GetObject(page, place)
        kind = pdfium.FPDFPageObj_GetType(one)
        if kind == pdfium.FPDF_PAGEOBJ_PATH:
            paths += 1
            if paths <= _PATHS and len(edges) <= _EDGES:
                edges += _edges_of(one)
        elif kind == pdfium.FPDF_PAGEOBJ_IMAGE:
            pictures += _area_of(one)
    if paths > _PATHS or len(edges) > _EDGES:
        edges = []
    return _Drawn(edges, pictures)


def _area_of(one: Any) -> float:
    left, bottom, right, top = (ctypes.c_float() for _ in range(4))
    pdfium.FPDFPageObj_GetBounds(one, left, bottom, right, top)
    return max(right.value - left.value, 0.0) * max(top.value - bottom.value, 0.0)


def _edges_of(path: Any) -> list[Edge]:
    """The level and upright parts of a path."""
    count = pdfium.FPDFPath_CountSegments(path)
    if not 2 <= count <= _SEGMENTS_OF_A_PATH:
        return []
    matrix = pdfium.FS_MATRIX()
    if not pdfium.FPDFPageObj_GetMatrix(path, matrix):
        return []
    x, y = ctypes.c_float(), ctypes.c_float()
    edges = []
    begin = last = (0.0, 0.0)
    for place in range(count):
        segment = pdfium.FPDFPath_GetPathSegment(path, place)
        kind = pdfium.FPDFPathSegment_GetType(segment)
        pdfium.FPDFPathSegment_GetPoint(segment, x, y)
        here = (
            matrix.a * x.value + matrix.c * y.value + matrix.e,
            matrix.b * x.value + matrix.d * y.value + matrix.f,
        )
        if kind == pdfium.FPDF_SEGMENT_MOVETO:
            begin = here
        elif kind == pdfium.FPDF_SEGMENT_LINETO:
            edges.append((last, here))
        if pdfium.FPDFPathSegment_GetClose(segment):
            edges.append((here, begin))
        last = here
    return [edge for pair in edges if (edge := Edge.between(*pair)) is not None]


def _tables(text_page: PdfTextPage, edges: list[Edge]) -> list[Table]:
    tables = []
    for grid in grids_of(edges):
        rows = [
            [text_page.get_text_bounded(*cell) if cell else "" for cell in row]
            for row in grid.cells
        ]
        filled = sum(bool(cell.strip()) for row in rows for cell in row)
        columns = sum(any(row[i].strip() for row in rows) for i in range(len(rows[0])))
        if filled >= 3 and columns >= 2:
            tables.append(Table(grid.left, grid.bottom, grid.right, grid.top, rows))
    return tables
