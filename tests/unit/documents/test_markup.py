"""Of a page of HTML what a reader would see."""

from __future__ import annotations

import pytest

from tests.unit.documents.making import packed
from tests.unit.documents.opened import opened, shown


def page(body: str, head: str = "") -> str:
    return f"<!doctype html><html><head>{head}</head><body>{body}</body></html>"


def test_a_page_has_headings_paragraphs_items_tables_and_code():
    body = """<h1>One <em>thing</em></h1><p>A  line<br>and
    <b>more</b>.</p>loose<ol><li>first<li>second<ul><li>inner</ul></ol>
    <pre>a\n  b</pre><table><caption>Cap</caption><thead><tr><th colspan=2>ab<th>c</thead>
    <tr><td>1<td><p>2</p><p>x</p><td>3</table><footer>end</footer>"""
    document = opened("a.html", page(body, "<title>T  t</title>"))
    assert document.title == "T t"
    assert shown(document.blocks) == [
        ("h1", "One thing"),
        ("paragraph", "A line\nand more."),
        ("paragraph", "loose"),
        ("item", "1. first"),
        ("item", "2. second"),
        ("item", "- inner"),
        ("code", "a\n  b"),
        ("paragraph", "Cap"),
        ("table", "| ab |  | c |\n| --- | --- | --- |\n| 1 | 2 x | 3 |"),
        ("paragraph", "end"),
    ]


HIDDEN = [
    "<script>bad</script>",
    "<style>bad</style>",
    "<template>bad</template>",
    "<noscript>bad</noscript>",
    "<!-- bad -->",
    "<p hidden>bad</p>",
    "<div style='color:red; DISPLAY : NONE'><p>bad</p></div>",
    "<span style='visibility:hidden'>bad</span>",
    "<span style='font-size:0px'>bad</span>",
    "<span style='opacity:0'>bad</span>",
    "<iframe srcdoc='bad'>bad</iframe>",
    "<img alt='' src='https://example.org/bad.gif'>",
    "<svg><text>bad</text></svg>",
    "<table><tr><td>1<td style='display:none'>bad<tr><td>1<td>2</table>",
    "<table><tr><td>1<td>2<tr hidden><td>bad<td>bad</table>",
    "<table><tr><td>1<td>2<tbody style='display:none'><tr><td>bad<td>bad</table>",
    "<table><thead hidden><tr><th>bad<th>bad<tbody><tr><td>1<td>2</table>",
    "<table><tr><td><p>lays out</p><tr style='display:none'><td><p>bad</table>",
    "<table><caption hidden>bad</caption><tr><td>1<td>2</table>",
    "<pre>fine <span style='display:none'>bad</span><script>bad</script><b hidden>bad</b></pre>",
    "<h2>fine <i hidden>bad</i></h2>",
    "<textarea>bad</textarea>",
    "<div>" * 200 + "fine <i hidden>bad</i><script>bad</script>" + "</div>" * 200,
]


@pytest.mark.parametrize("hidden", HIDDEN)
def test_what_a_reader_does_not_see_is_not_read(hidden):
    document = opened("a.html", page(f"<p>good</p>{hidden}<p>end</p>"))
    assert "bad" not in document.text
    assert document.text.startswith("good") and document.text.endswith("end")


def test_hidden_text_is_told_of():
    assert opened("a.html", page("<p hidden>x</p><p>y")).warnings == ("hidden text was left out",)
    assert opened("a.html", page("<p style='font-size:0.8em;opacity:0.5'>y")).text == "y"


@pytest.mark.parametrize(
    "hidden",
    [
        "<table><tr hidden><td>x<td>x<tr><td>y<td>y</table>",
        "<table><tr><td hidden>x<tr><td>y</table>",
        "<pre><i hidden>x</i>y</pre>",
    ],
)
def test_what_is_hidden_in_tables_and_code_is_told_of(hidden):
    assert opened("a.html", page(hidden)).warnings == ("hidden text was left out",)


def test_lines_of_code_are_parted_as_they_are_shown():
    body = "<pre>one<br>  <b>two</b>\nthree</pre>"
    assert shown(opened("a.html", page(body)).blocks) == [("code", "one\n  two\nthree")]


def test_the_caption_of_a_table_of_one_column_is_read():
    body = "<table><caption>Cap</caption><tr><td>one<tr><td>two</table>"
    assert [b.text for b in opened("a.html", page(body)).blocks] == ["Cap", "one", "two"]


@pytest.mark.parametrize("style", ["-webkit-backface-visibility:hidden", "--tw-bg-opacity: 0"])
def test_a_style_with_a_longer_name_hides_nothing(style):
    document = opened("a.html", page(f"<p style='{style}'>shown"))
    assert document.text == "shown" and not document.warnings


def test_a_table_that_lays_out_a_page_is_read_as_a_page():
    body = "<table><tr><td><h1>One</h1><p>text</p></td></tr></table>"
    assert shown(opened("a.html", page(body)).blocks) == [("h1", "One"), ("paragraph", "text")]


def test_a_page_says_in_which_letters_it_is_written():
    text = page("<p>Привет", "<meta charset=koi8-r>")
    assert opened("a.html", text.encode("koi8-r")).text == "Привет"


def test_chapters_of_a_book_that_are_missing_are_told_of():
    import io
    import zipfile

    from tests.unit.documents.making import SAMPLES

    source = zipfile.ZipFile(io.BytesIO(SAMPLES["epub"][1]()))
    kept = {n: source.read(n) for n in source.namelist() if "two" not in n}
    document = opened("a.epub", packed(kept))
    assert document.title == "Dimora reads"
    assert document.warnings == ("a chapter is missing: two.xhtml",)


def test_a_chapter_that_is_no_text_costs_a_warning_and_not_the_book():
    import io
    import zipfile

    from tests.unit.documents.making import SAMPLES

    source = zipfile.ZipFile(io.BytesIO(SAMPLES["epub"][1]()))
    parts = {n: source.read(n) for n in source.namelist()}
    document = opened("a.epub", packed(parts | {"OEBPS/two.xhtml": b"a\0b"}))
    assert document.blocks[0].text == "Dimora reads"
    assert document.warnings == ("a chapter cannot be read: two.xhtml",)


def test_lists_of_links_within_a_document_are_navigation() -> None:
    contents = "".join(f"<li><a href='#s{n}'>Chapter {n}</a></li>" for n in range(4))
    row = "<p>Next: <a href='b.html'>Rivers</a>, <a href='x.htm#a'>Lands</a>, <a href=#i>Index</a>"
    body = f"<h1>Lands</h1><ul>{contents}</ul>{row}<p>Rivers are wet.</p>"
    blocks = opened("a.html", page(body)).blocks
    assert [b.kind for b in blocks] == ["heading", *["navigation"] * 5, "paragraph"]
    assert blocks[1].text == "- Chapter 0"


@pytest.mark.parametrize(
    "targets",
    [
        ("form-a.pdf", "form-b.pdf", "form-c.pdf"),
        ("https://example.org/a.html", "https://example.org/b.html", "mailto:c@example.org"),
        ("#one", "#two"),
    ],
)
def test_links_to_what_is_elsewhere_and_few_links_are_text(targets: tuple[str, ...]) -> None:
    items = "".join(f"<li><a href='{target}'>Something</a></li>" for target in targets)
    assert {b.kind for b in opened("a.html", page(f"<ul>{items}</ul>")).blocks} == {"item"}


def test_a_paragraph_with_links_in_it_is_text() -> None:
    links = " and ".join(f"<a href='#{n}'>one</a>" for n in range(4))
    text = f"<p>Whoever wants to know more of these things reads {links} too.</p>"
    (block,) = opened("a.html", page(text)).blocks
    assert block.kind == "paragraph"
