"""PDF: text in reading order, headings by size and outline, ruled tables, page numbers.

Scanned pages are read where the extra for that is installed, and told of where it is not.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dimora.documents import _ocr, refusals
from dimora.documents._blocks import Blocks, one_line, title_in
from dimora.documents._pdf_layout import PageText, add_pages
from dimora.documents.base import Budget, Document

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

NAME = "PDF"
ENDINGS = (".pdf",)
MEDIA_TYPES = ("application/pdf",)
EXTRA = ""

# The mark may stand behind what a mail program or a printer put before it.
_MARK_WITHIN_BYTES = 1024
_OUTLINE_ENTRIES = 5000


def is_it(head: bytes, name: str) -> bool:
    at = head[:_MARK_WITHIN_BYTES].find(b"%PDF-")
    return at == 0 or (at > 0 and b"<" not in head[:at])


def read(data: bytes, name: str, budget: Budget) -> Document:
    import pypdfium2
    from pypdfium2.raw import FPDF_ERR_PASSWORD

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as why:
        if why.err_code == FPDF_ERR_PASSWORD:
            raise refusals.sealed() from None
        raise refusals.unreadable(NAME) from None
    pages = len(document)
    if pages == 0:
        raise refusals.unreadable(NAME)
    budget.take_pages(pages)
    reader = _Pages(document, budget)
    texts = list(reader.texts())
    if len(reader.broken) == pages:
        raise refusals.unreadable(NAME)
    blocks = Blocks(budget)
    add_pages(texts, _outline(document), blocks)
    found = blocks.all()
    return Document(
        name=name,
        media_type=MEDIA_TYPES[0],
        blocks=found,
        pages=pages,
        title=one_line(document.get_metadata_value("Title")) or title_in(found),
        warnings=tuple(reader.warnings()),
    )


class _Pages:
    """Page after page; what is wrong with some of them is told at the end."""

    def __init__(self, document: PdfDocument, budget: Budget) -> None:
        self._document = document
        self._budget = budget
        self._letters = _ocr.LetterReader() if _ocr.is_installed() else None
        self._scanned: list[int] = []
        self._late: list[int] = []
        self.broken: list[int] = []

    def texts(self) -> Iterator[PageText]:
        from pypdfium2 import PdfiumError

        from dimora.documents._pdf_pages import read_page

        for number in range(1, len(self._document) + 1):
            try:
                text = read_page(self._document, number)
            except PdfiumError:
                self.broken.append(number)
                continue
            # Counted here already: all pages are gathered before the first block is made.
            if sum(len(line.text) for line in text.lines) > self._budget.characters:
                raise refusals.too_large("it has more text than is read")
            if text.scanned:
                text = self._scan(number, text)
            yield text

    def _scan(self, number: int, text: PageText) -> PageText:
        from dimora.documents._pdf_pages import picture_of

        if self._letters is None:
            self._scanned.append(number)
            return text
        if self._budget.is_late:
            self._late.append(number)
            return text
        picture = picture_of(self._document, number)
        self._budget.take_unpacked(picture.nbytes)
        return text._replace(read="\n".join(self._letters.lines(picture)))

    def warnings(self) -> Iterator[str]:
        if self._scanned:
            yield (
                f"{_listed(self._scanned)} scanned and not read: that needs the extra"
                f" {_ocr.EXTRA!r} (pip install 'dimora[{_ocr.EXTRA}]')"
            )
        if self._late:
            yield f"{_listed(self._late)} scanned and not read: there was no time left"
        if self.broken:
            yield f"{_listed(self.broken)} broken"


def _listed(pages: list[int]) -> str:
    """Such as "pages 1-3, 7 are"."""
    parts = []
    for _, group in itertools.groupby(enumerate(pages), lambda pair: pair[1] - pair[0]):
        run = [page for _, page in group]
        parts.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    shown = ", ".join(parts[:20]) + (" and others" if len(parts) > 20 else "")
    return f"page {shown} is" if len(pages) == 1 else f"pages {shown} are"


def _outline(document: PdfDocument) -> dict[tuple[int, str], int]:
    """Levels, from 1, of the entries by page and words. The library stops where it goes round."""
    levels: dict[tuple[int, str], int] = {}
    for entry in itertools.islice(document.get_toc(), _OUTLINE_ENTRIES):
        place = entry.get_dest()
        page = place.get_index() if place is not None else None
        title = one_line(entry.get_title()).casefold()
        if page is not None and title:
            levels.setdefault((page + 1, title), entry.level + 1)
    return levels
