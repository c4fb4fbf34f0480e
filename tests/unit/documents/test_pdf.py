"""PDF: what is where on its pages becomes headings, paragraphs and tables."""

from __future__ import annotations

import importlib.util
import io

import pytest

from dimora.documents import _ocr
from dimora.documents.limits import ReadingLimits
from dimora.documents.opening import open_document
from tests.unit.documents.making import PdfPage, make_image, pdf, ruled
from tests.unit.documents.opened import opened, shown

WORDS = "the lessee pays the rent on the first day of every month without delay or"


def lines(page: PdfPage, top: float, texts: list[str], **look) -> None:
    for number, text in enumerate(texts):
        page.text(60, top - 14 * number, text, **look)


def test_lines_become_paragraphs_and_cut_words_are_mended():
    page = PdfPage()
    lines(page, 780, [f"{WORDS} pen-", f"alty. {WORDS}", "ends."])
    lines(page, 700, [f"Another one: {WORDS}", "is shorter."])
    read = opened("a.pdf", pdf([page]))
    assert [b.kind for b in read.blocks] == ["paragraph", "paragraph"]
    assert "or penalty. the lessee" in read.blocks[0].text
    assert read.blocks[1].text.endswith("or is shorter.")


def test_large_and_bold_lines_are_headings_with_levels():
    page = PdfPage()
    page.text(60, 800, "Contract", size=22)
    page.text(60, 760, "Part one", size=15)
    page.text(60, 735, "Article 1", bold=True)
    lines(page, 715, [WORDS] * 6)
    page.text(60, 600, "Part two", size=15)
    lines(page, 580, [WORDS] * 4)
    heads = [b for b in shown(opened("a.pdf", pdf([page])).blocks) if b[0][0] == "h"]
    assert heads == [
        ("h1", "Contract"),
        ("h2", "Part one"),
        ("h3", "Article 1"),
        ("h2", "Part two"),
    ]


def test_the_outline_of_a_pdf_tells_the_levels_of_its_headings():
    pages = []
    for title in ("Terms", "Notice"):
        page = PdfPage()
        page.text(60, 780, title)
        lines(page, 740, [WORDS] * 5)
        pages.append(page)
    read = opened("a.pdf", pdf(pages, outline=[("Terms", 0, 0), ("Notice", 1, 1)]))
    heads = [(b.text, b.level, b.page) for b in read.blocks if b.kind == "heading"]
    assert heads == [("Terms", 1, 1), ("Notice", 2, 2)]


def test_ruled_tables_are_tables_where_they_stand():
    page = PdfPage()
    page.text(60, 780, "Before it.")
    ruled(page, 60, 750, [["city", "rooms", "rent"], ["Bologna", "42", "9|9"], ["Turin", "", "7"]])
    page.text(60, 650, "After it.")
    assert shown(opened("a.pdf", pdf([page])).blocks) == [
        ("paragraph", "Before it."),
        (
            "table",
            "| city | rooms | rent |\n| --- | --- | --- |\n| Bologna | 42 | 9\\|9 |\n"
            "| Turin |  | 7 |",
        ),
        ("paragraph", "After it."),
    ]


def test_a_cell_that_spreads_over_two_columns_is_read_once():
    page = PdfPage()
    for y in (700, 680, 660):
        page.rule(60, y, 260, y)
    for x in (60, 260):
        page.rule(x, 700, x, 660)
    page.rule(160, 680, 160, 660)
    page.text(64, 686, "over both of the columns")
    page.text(64, 666, "left")
    page.text(164, 666, "right")
    (block,) = opened("a.pdf", pdf([page])).blocks
    assert block.text.startswith("| over both of the columns |  |\n")
    assert block.text.endswith("| left | right |")


def test_frames_and_drawings_are_no_tables():
    page = PdfPage()
    page.box(40, 40, 500, 760)
    page.box(50, 600, 200, 100)
    page.text(60, 650, "in a frame")
    for i in range(60):
        page.rule(300 + i, 300, 300 + 2 * i, 400)
    assert shown(opened("a.pdf", pdf([page])).blocks) == [("paragraph", "in a frame")]


def test_heads_and_feet_of_pages_are_left_out_and_pages_counted():
    pages = []
    for number in range(1, 6):
        page = PdfPage()
        page.text(60, 815, "Contract of lease")
        lines(page, 700, [f"Text of page {number}: {WORDS}"])
        page.text(280, 30, f"{number} of 5")
        pages.append(page)
    read = opened("a.pdf", pdf(pages))
    assert read.pages == 5
    assert [b.page for b in read.blocks] == [1, 2, 3, 4, 5]
    assert "Contract of lease" not in read.text and "of 5" not in read.text


def test_lines_of_a_table_of_contents_are_no_headings():
    page = PdfPage()
    page.text(60, 780, "Contents", size=18)
    page.text(60, 750, "1 Terms 3", bold=True)
    page.text(60, 735, "2 Notice . . . . . . . . 4", bold=True)
    lines(page, 700, [WORDS] * 5)
    heads = [b.text for b in opened("a.pdf", pdf([page])).blocks if b.kind == "heading"]
    assert heads == ["Contents"]


def leading(*ends: str) -> list[str]:
    page = PdfPage()
    for at, end in enumerate(ends):
        page.text(60, 760 - 15 * at, f"Line {at} ............ {end}")
    page.text(60, 400, "Some words of the page, which are those of a paragraph.")
    return [block.kind for block in opened("a.pdf", pdf([page])).blocks[:-1]]


def test_leaders_lead_to_pages_where_these_never_go_back():
    assert leading("ii", "1", "4", "4", "12") == ["navigation"]
    # Prices, telephones, a sum.
    assert leading("3", "12", "7") == ["paragraph"]
    assert leading("0105551", "0105552") == ["paragraph"]
    assert leading("1200") == ["paragraph"]


def test_what_stands_in_the_fields_of_a_form_is_read():
    page = PdfPage()
    page.text(60, 700, "Name of the tenant:")
    shown_words = b"BT /F1 11 Tf 2 4 Td (Ada Bianchi) Tj ET"
    look = (
        b"<< /Type /XObject /Subtype /Form /BBox [0 0 200 20] /Resources << /Font << /F1 3 0 R >>"
        b" >> /Length %d >>\nstream\n%s\nendstream" % (len(shown_words), shown_words)
    )
    field = (
        b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (name) /V (Ada Bianchi) /F 4"
        b" /Rect [60 660 260 680] /AP << /N 8 0 R >> >>"
    )
    data = pdf([page], extra=[look, field])
    data = data.replace(b"/Type /Page /Parent", b"/Type /Page /Annots [9 0 R] /Parent")
    assert "Ada Bianchi" in opened("a.pdf", data).text


def scanned() -> bytes:
    import io

    from PIL import Image

    picture = Image.open(io.BytesIO(make_image())).convert("L")
    whole = Image.new("L", (1190, 1684), 255)
    whole.paste(picture, (300, 300))
    page = PdfPage()
    page.scan()
    text = PdfPage()
    text.text(60, 700, "A page with letters.")
    return pdf([text, page], picture=(1190, 1684, whole.tobytes()))


def test_scanned_pages_are_told_of_where_nothing_reads_them(monkeypatch):
    monkeypatch.setattr(_ocr, "is_installed", lambda: False)
    read = opened("a.pdf", scanned())
    assert read.text == "A page with letters."
    assert len(read.warnings) == 1
    assert read.warnings[0].startswith("page 2 is scanned") and "'ocr'" in read.warnings[0]


@pytest.mark.skipif(not importlib.util.find_spec("rapidocr"), reason="the extra ocr is not there")
def test_scanned_pages_are_read_where_the_extra_is_installed():
    read = opened("a.pdf", scanned())
    assert read.warnings == ()
    assert "Bologna 42" in read.blocks[1].text and read.blocks[1].page == 2


@pytest.mark.skipif(not importlib.util.find_spec("rapidocr"), reason="the extra ocr is not there")
def test_scanned_pages_for_which_there_is_no_time_are_told_of():
    budget = ReadingLimits(seconds=0).budget()
    read = open_document("a.pdf", scanned(), budget)
    assert read.text == "A page with letters."
    assert read.warnings == ("page 2 is scanned and not read: there was no time left",)


def test_pictures_need_the_extra(monkeypatch):
    from dimora.core.errors import BadRequest

    monkeypatch.setattr(_ocr, "is_installed", lambda: False)
    with pytest.raises(BadRequest) as caught:
        opened("a.png", make_image())
    assert caught.value.code == "document_needs_extra" and "dimora[ocr]" in caught.value.hint


def test_of_a_picture_of_many_pages_those_there_is_no_time_for_are_told_of(monkeypatch):
    image = pytest.importorskip("PIL.Image")
    whole = io.BytesIO()
    pages = [image.new("L", (20, 20), 255) for _ in range(3)]
    pages[0].save(whole, "TIFF", save_all=True, append_images=pages[1:])
    budget = ReadingLimits().budget()

    class Slow:
        def lines(self, _):
            budget.late_at = 0.0
            return ["letters"]

    monkeypatch.setattr(_ocr, "is_installed", lambda: True)
    monkeypatch.setattr(_ocr, "LetterReader", Slow)
    read = open_document("a.tiff", whole.getvalue(), budget)
    assert [(b.text, b.page) for b in read.blocks] == [("letters", 1)]
    assert read.warnings == ("from page 2 on it was not read: there was no time left",)
