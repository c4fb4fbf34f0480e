"""Texts, slides and sheets of offices."""

from __future__ import annotations

import datetime
import io

import docx
import pytest
import xlsxwriter
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from pptx import Presentation

from tests.unit.documents.making import packed
from tests.unit.documents.opened import opened, shown


def saved(document) -> bytes:
    whole = io.BytesIO()
    document.save(whole)
    return whole.getvalue()


def test_styles_of_word_are_headings_and_items():
    document = docx.Document()
    document.add_heading("Whole", level=0)
    document.add_heading("Part", level=2)
    document.add_paragraph("one\ttwo\nthree")
    document.add_paragraph("first", style="List Number")
    document.add_paragraph("said", style="Quote")
    read = opened("a.docx", saved(document))
    assert shown(read.blocks) == [
        ("h1", "Whole"),
        ("h2", "Part"),
        ("paragraph", "one\ttwo\nthree"),
        ("item", "- first"),
        ("paragraph", "said"),
    ]
    assert read.title == "Whole"


def test_deleted_and_hidden_words_of_word_are_not_read():
    document = docx.Document()
    paragraph = document.add_paragraph("stays ")
    hidden = paragraph.add_run("hidden")
    hidden.font.hidden = True
    deleted = OxmlElement("w:del")
    deleted.append(paragraph.add_run("deleted")._r)
    paragraph._p.append(deleted)
    inserted = OxmlElement("w:ins")
    inserted.append(paragraph.add_run("inserted")._r)
    paragraph._p.append(inserted)
    read = opened("a.docx", saved(document))
    assert read.text == "stays inserted"
    assert read.warnings == ("hidden text was left out",)


@pytest.mark.parametrize("off", ["0", "false", "off"])
def test_words_that_are_said_not_to_be_hidden_are_read(off):
    document = docx.Document()
    run = document.add_paragraph("stays ").add_run("shown")
    run.font.hidden = False
    run._r.rPr.find(qn("w:vanish")).set(qn("w:val"), off)
    read = opened("a.docx", saved(document))
    assert read.text == "stays shown" and not read.warnings


def test_moved_words_of_word_are_read_where_they_are_now():
    document = docx.Document()
    for name in ("w:moveFrom", "w:moveTo"):
        paragraph = document.add_paragraph(name)
        moved = OxmlElement(name)
        moved.append(paragraph.add_run(" words")._r)
        paragraph._p.append(moved)
    read = opened("a.docx", saved(document))
    assert [b.text for b in read.blocks] == ["w:moveFrom", "w:moveTo words"]


@pytest.mark.parametrize(("number", "kind"), [(0, "paragraph"), (1, "item")])
def test_a_paragraph_of_word_with_the_number_of_no_list_is_no_item(number, kind):
    document = docx.Document()
    paragraph = document.add_paragraph("words")
    paragraph._p.get_or_add_pPr().get_or_add_numPr().get_or_add_numId().val = number
    (block,) = opened("a.docx", saved(document)).blocks
    assert block.kind == kind


def test_tables_of_word_keep_merged_and_nested_cells():
    document = docx.Document()
    table = document.add_table(rows=2, cols=3)
    table.cell(0, 0).merge(table.cell(0, 1)).text = "wide"
    table.cell(0, 2).text = "c"
    table.cell(1, 0).text = "1"
    inner = table.cell(1, 1).add_table(rows=1, cols=1)
    inner.cell(0, 0).text = "inner"
    (block,) = opened("a.docx", saved(document)).blocks
    assert block.text == "| wide |  | c |\n| --- | --- | --- |\n| 1 | inner |  |"


def test_templates_and_documents_with_macros_are_read_too():
    import zipfile

    document = docx.Document()
    document.add_paragraph("words")
    source = zipfile.ZipFile(io.BytesIO(saved(document)))
    parts = {name: source.read(name) for name in source.namelist()}
    plain = b"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    for other in (
        b"application/vnd.openxmlformats-officedocument.wordprocessingml.template.main+xml",
        b"application/vnd.ms-word.document.macroEnabled.main+xml",
        b"application/vnd.ms-word.template.macroEnabledTemplate.main+xml",
    ):
        types = parts["[Content_Types].xml"].replace(plain, other)
        assert other in types
        data = packed(parts | {"[Content_Types].xml": types})
        assert opened("a.docm", data).text == "words"


@pytest.mark.parametrize("off", ["0", "false"])
def test_slides_have_numbers_and_hidden_ones_are_left_out(off):
    presentation = Presentation()
    for title in ("One", "Two", "Three"):
        slide = presentation.slides.add_slide(presentation.slide_layouts[5])
        slide.shapes.title.text = title
    presentation.slides[1].element.set("show", off)
    read = opened("a.pptx", saved(presentation))
    assert [(b.text, b.page, b.place) for b in read.blocks] == [
        ("One", 1, "slide 1"),
        ("Three", 3, "slide 3"),
    ]
    assert read.pages == 3 and read.warnings == ("hidden slides were left out",)


def workbook(fill) -> bytes:
    whole = io.BytesIO()
    book = xlsxwriter.Workbook(whole, {"in_memory": True})
    fill(book)
    book.close()
    return whole.getvalue()


def test_sheets_have_names_and_their_cells_are_values():
    def fill(book):
        day = book.add_format({"num_format": "yyyy-mm-dd"})
        sheet = book.add_worksheet("Costs")
        sheet.write_row(1, 1, ["when", "what", "how much", "sure"])
        sheet.write_datetime(2, 1, datetime.datetime(2026, 3, 4), day)
        sheet.write(2, 2, "a|b")
        sheet.write_formula(2, 3, "=1+1.5", value=2.5)
        sheet.write_boolean(2, 4, True)
        sheet.write(4, 1, 1e6)
        book.add_worksheet("Empty")
        hidden = book.add_worksheet("Hidden")
        hidden.write(0, 0, "secret")
        hidden.hide()

    read = opened("a.xlsx", workbook(fill))
    (block,) = read.blocks
    assert block.text.split("\n") == [
        "| when | what | how much | sure |",
        "| --- | --- | --- | --- |",
        "| 2026-03-04 | a\\|b | 2.5 | TRUE |",
        "| 1000000 |  |  |  |",
    ]
    assert block.place == "Costs, rows 2-5"
    assert read.warnings == ("hidden sheets were left out",)


ODF = "urn:oasis:names:tc:opendocument:xmlns"


def odf(kind: str, body: str, styles: str = "") -> bytes:
    names = " ".join(
        f'xmlns:{n}="{ODF}:{u}:1.0"'
        for n, u in (
            ("office", "office"),
            ("text", "text"),
            ("table", "table"),
            ("draw", "drawing"),
            ("style", "style"),
            ("presentation", "presentation"),
        )
    )
    content = (
        f"<office:document-content {names}><office:automatic-styles>{styles}"
        f"</office:automatic-styles><office:body>{body}</office:body>"
    )
    return packed(
        {
            "mimetype": f"application/vnd.oasis.opendocument.{kind}",
            "META-INF/manifest.xml": f'<m:manifest xmlns:m="{ODF}:manifest:1.0"/>',
            "content.xml": content + "</office:document-content>",
        }
    )


def test_opendocument_has_breaks_notes_and_no_comments():
    body = (
        "<office:text><text:tracked-changes><text:p>gone</text:p></text:tracked-changes>"
        '<text:h text:outline-level="2">Part</text:h><text:p>one<text:line-break/>two<text:s/>x'
        "<text:note><text:note-citation>1</text:note-citation><text:note-body>"
        "<text:p>below</text:p></text:note-body></text:note>"
        "<office:annotation><text:p>no</text:p></office:annotation></text:p></office:text>"
    )
    read = opened("a.odt", odf("text", body))
    assert read.blocks[0].level == 2
    text = read.blocks[1].text
    assert text.startswith("one\ntwo x") and "below" in text
    assert "gone" not in read.text and "no" not in read.text.split()


def box(inside: str) -> str:
    return f"<draw:frame><draw:text-box>{inside}</draw:text-box></draw:frame>"


def test_the_boxes_of_opendocument_are_read_once_wherever_they_stand():
    inner = "<text:p>last</text:p>"
    for depth in range(20):
        inner = f"<text:p>p{depth}{box(inner)}</text:p>"
    cell = f"<table:table-cell><text:p>cell {box('<text:p>boxed</text:p>')}</text:p>"
    body = (
        f"<office:text><text:h>Head{box('<text:p>aside</text:p>')}</text:h>{inner}"
        f"<table:table><table:table-header-rows><table:table-row>{cell}</table:table-cell>"
        "<table:table-cell><table:table><table:table-row><table:table-cell><text:p>deep</text:p>"
        "</table:table-cell></table:table-row></table:table></table:table-cell></table:table-row>"
        "</table:table-header-rows></table:table></office:text>"
    )
    read = opened("a.odt", odf("text", body)).blocks
    assert [b.text for b in read[:2]] == ["Head", "aside"]
    assert [b.text for b in read[2:-1]] == [*[f"p{n}" for n in reversed(range(20))], "last"]
    assert read[-1].text == "| cell boxed | deep |\n| --- | --- |"


def test_what_opendocument_hides_is_left_out_and_told_of():
    style = (
        '<style:style style:name="off"><style:drawing-page-properties'
        ' presentation:visibility="hidden"/></style:style>'
        '<style:style style:name="on"><style:drawing-page-properties'
        ' presentation:visibility="visible"/></style:style>'
        '<style:style style:name="gone"><style:text-properties text:display="none"/></style:style>'
    )
    slides = "".join(
        f'<draw:page draw:style-name="{name}"><text:p>{name}</text:p></draw:page>'
        for name in ("on", "off", "on")
    )
    body = f"<office:presentation>{slides}</office:presentation>"
    read = opened("a.odp", odf("presentation", body, style))
    assert [(b.text, b.page) for b in read.blocks] == [("on", 1), ("on", 3)]
    assert read.warnings == ("hidden slides were left out",)
    body = (
        '<office:text><text:p>seen<text:span text:style-name="gone">bad</text:span></text:p>'
        '<text:p text:style-name="gone">bad</text:p>'
        '<text:section text:display="none"><text:p>bad</text:p></text:section></office:text>'
    )
    read = opened("a.odt", odf("text", body, style))
    assert [b.text for b in read.blocks] == ["seen"]
    assert read.warnings == ("hidden text was left out",)


def test_slides_and_sheets_of_opendocument_are_read():
    slides = (
        "<office:presentation><draw:page><draw:frame><draw:text-box><text:p>One</text:p>"
        "</draw:text-box></draw:frame></draw:page><draw:page><text:p>Two</text:p></draw:page>"
        "</office:presentation>"
    )
    read = opened("a.odp", odf("presentation", slides))
    assert [(b.text, b.page) for b in read.blocks] == [("One", 1), ("Two", 2)]
    sheet = (
        '<office:spreadsheet><table:table table:name="Rooms"><table:table-row>'
        '<table:table-cell office:value-type="string"><text:p>city</text:p></table:table-cell>'
        '<table:table-cell office:value-type="float" office:value="42"><text:p>42</text:p>'
        "</table:table-cell></table:table-row></table:table></office:spreadsheet>"
    )
    (block,) = opened("a.ods", odf("spreadsheet", sheet)).blocks
    assert block.text.startswith("| city | 42 |") and block.place == "Rooms, rows 1-1"


@pytest.mark.parametrize("count", ["100000000", "x"])
def test_a_cell_that_says_it_is_repeated_forever_is_not(count):
    row = (
        "<office:text><table:table><table:table-row><table:table-cell"
        f' table:number-columns-repeated="{count}"><text:p>a</text:p></table:table-cell>'
        "</table:table-row></table:table></office:text>"
    )
    assert len(opened("a.odt", odf("text", row)).text) < 1000
