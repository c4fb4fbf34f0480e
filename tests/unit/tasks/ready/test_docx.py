"""Words of a Word document are replaced, and nothing else of it is."""

from __future__ import annotations

import asyncio
import base64
import io
import re
import tracemalloc
import zipfile

import pytest

from dimora.core.errors import BadRequest
from dimora.tasks.ready import translate
from dimora.tasks.ready._docx import Document
from tests.unit.tasks.ready.speaking import result_of

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
BODY = (
    '<w:p w:rsidR="1"><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>Hel</w:t></w:r>'
    '<w:proofErr w:type="spellStart"/><w:r><w:t>lo &amp; bye</w:t></w:r></w:p>'
    '<w:p><w:r><w:t xml:space="preserve">The rent is </w:t></w:r><w:r><w:rPr><w:b/></w:rPr>'
    "<w:t>800 euros</w:t></w:r><w:r><w:t> a month.</w:t></w:r></w:p>"
    "<w:p><w:r><w:t>Name:</w:t><w:tab/><w:t>the tenant</w:t></w:r></w:p>"
    '<w:p><w:r><w:fldChar w:fldCharType="begin"/><w:instrText>PAGE</w:instrText><w:t>12</w:t></w:r>'
    "<w:r><w:t/></w:r></w:p>"
)


def package(body: str = BODY, head: str = '<?xml version="1.0" encoding="UTF-8"?>') -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as written:
        written.writestr("[Content_Types].xml", "<Types/>")
        written.writestr(
            "word/document.xml",
            f'{head}<w:document xmlns:w="{W}"><w:body>{body}</w:body></w:document>',
        )
        written.writestr("word/styles.xml", "<styles>Leave me</styles>")
        written.writestr("word/footer1.xml", f'<f:ftr xmlns:f="{W}"><f:p><f:r><f:t>Foot note</f:t>'
                         "</f:r></f:p></f:ftr>")  # fmt: skip
    return target.getvalue()


def part(data: bytes, name: str = "word/document.xml") -> str:
    with zipfile.ZipFile(io.BytesIO(data)) as read:
        return read.read(name).decode()


def test_runs_that_look_alike_are_read_as_one_and_breaks_part_them():
    found = [[s.words for s in p.stretches] for p in Document(package()).paragraphs]
    assert found == [
        ["Hello & bye"],
        ["The rent is ", "800 euros", " a month."],
        ["Name:"],
        ["the tenant"],
        ["12"],
        ["Foot note"],
    ]


def test_new_words_stand_where_the_old_ones_stood_and_every_other_byte_is_the_same():
    document = Document(package())
    for paragraph in document.paragraphs:
        for stretch in paragraph.stretches:
            stretch.words = stretch.words.replace("Hello & bye", "Ciao < & >").replace("8", "9")
    data = document.data()

    def bare(xml: str) -> str:
        return re.sub(r"<w:t(?: [^>]*)?>[^<]*</w:t>|<w:t/>", "<w:t/>", xml)

    assert bare(part(data)) == bare(part(package()))
    assert "Ciao &lt; &amp; &gt;" in part(data)
    assert "900 euros" in part(data)
    assert part(data, "word/styles.xml") == "<styles>Leave me</styles>"
    assert '<f:t xml:space="preserve">Foot note</f:t>' in part(data, "word/footer1.xml")
    again = Document(data)
    assert next(iter(again.paragraphs)).words == "Ciao < & >"


@pytest.mark.parametrize(
    "data",
    [
        b"PK nothing",
        package(head='<!DOCTYPE a [<!ENTITY b "c">]>'),
        package(head='<?xml version="1.0" encoding="ISO-8859-1"?>'),
        package(body="<w:p>"),
        package()[:200],
    ],
)
def test_what_cannot_be_read_is_refused(data):
    with pytest.raises(BadRequest):
        Document(data)


def test_a_zip_file_without_a_document_is_refused():
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as written:
        written.writestr("a.txt", "x")
    with pytest.raises(BadRequest):
        Document(target.getvalue())


def _translated(say) -> tuple[dict, str]:
    request = translate.Translate(text=base64.b64encode(package()).decode(), target="it")
    told = asyncio.run(result_of(translate, request, say))
    return told, part(base64.b64decode(told["translation"]))


def _words(prompt) -> str:
    return prompt.text.split("<text>\n")[-1].split("\n</text>")[0]


def test_a_document_is_translated_paragraph_by_paragraph_and_marks_carry_its_looks():
    told, xml = _translated(lambda prompt: _words(prompt).upper())
    assert told["form"] == "docx"
    assert told["lines"] == 5
    assert '<w:rPr><w:b/></w:rPr><w:t xml:space="preserve">800 EUROS</w:t>' in xml
    assert '<w:t xml:space="preserve">THE RENT IS </w:t>' in xml
    assert ">HELLO &amp; BYE<" in xml
    assert "<w:instrText>PAGE</w:instrText>" in xml


def test_a_model_that_loses_the_marks_translates_each_look_for_itself():
    told, xml = _translated(lambda prompt: re.sub(r"<\d+>", "", _words(prompt)).lower())
    assert '<w:t xml:space="preserve">the rent is </w:t>' in xml
    assert '<w:rPr><w:b/></w:rPr><w:t xml:space="preserve">800 euros</w:t>' in xml
    assert list(told["notes"]) == []


def test_a_word_document_that_unpacks_to_too_much_is_refused():
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as written:
        for number in range(3):
            written.writestr(f"word/header{number}.xml", b" " * (30 << 20))
    with pytest.raises(BadRequest, match="too large"):
        Document(target.getvalue())


def _with(name: str, content: bytes, kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO(package())
    with zipfile.ZipFile(target, "a", kind) as written:
        written.writestr(name, content)
    return target.getvalue()


def test_any_part_counts_towards_what_is_too_large():
    data = _with("word/media/image1.png", bytes(129 << 20))
    with pytest.raises(BadRequest, match="too large"):
        Document(data)


def test_a_part_that_says_less_than_it_holds_is_refused_and_not_unpacked():
    size = 100 << 20
    data = _with("word/media/image1.png", bytes(size))
    for lie in (b"\x10\0\0\0",):
        data = data.replace(size.to_bytes(4, "little"), lie)
    tracemalloc.start()
    try:
        with pytest.raises(BadRequest):
            Document(data)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["word/document.xml", "word/styles.xml"])
def test_damage_of_any_part_shows_before_the_work(name):
    data = bytearray(package())
    with zipfile.ZipFile(io.BytesIO(data)) as read:
        at = read.getinfo(name).header_offset + 30 + len(name)
    # No kind of block that DEFLATE knows.
    data[at] = 0x07
    with pytest.raises(BadRequest):
        Document(bytes(data))


def test_a_part_packed_in_a_way_that_unpacks_without_bounds_is_refused():
    with pytest.raises(BadRequest):
        Document(_with("word/media/image1.png", b"x", zipfile.ZIP_BZIP2))


def test_a_large_part_comes_through_in_pieces():
    content = bytes(range(256)) * (3 << 12)
    with zipfile.ZipFile(io.BytesIO(Document(_with("a.png", content)).data())) as read:
        assert read.read("a.png") == content
        assert read.testzip() is None
