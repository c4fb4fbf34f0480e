"""Every file type on the shelf reads a real file, and gives a named error for any other."""

from __future__ import annotations

import random
import textwrap
from pathlib import Path

import pytest

from dimora import documents
from dimora.cli.reading import Texts, text_of
from dimora.core.errors import BadRequest
from dimora.documents import SHELF
from dimora.documents.base import Budget, Document
from dimora.documents.kinds import ending_of, kind_of
from dimora.documents.limits import ReadingLimits
from dimora.documents.opening import open_document
from tests.unit.documents.making import SAMPLES, TITLE, WORDS, make_docx

CODES = {
    "document_needs_extra",
    "document_sealed",
    "document_too_large",
    "empty_document",
    "unknown_document",
    "unreadable_document",
}
# Their content cannot be told from any other text: the name says what they are.
NAMED = {"code", "csv", "json", "markdown", "text"}


def budget(**changed: int) -> Budget:
    whole = ReadingLimits().budget()
    for name, value in changed.items():
        setattr(whole, name, value)
    return whole


def sample(kind: str) -> tuple[str, bytes]:
    """A file with the words "Dimora reads" in it: the tests' own, or the type's."""
    if kind in SAMPLES:
        name, make = SAMPLES[kind]
        return name, make()
    module = SHELF.load(kind)
    assert hasattr(module, "example"), f"{kind} needs example() -> bytes, for the tests"
    return f"a{module.ENDINGS[0]}", module.example()


def read_or_skip(name: str, data: bytes, **changed: int) -> Document:
    try:
        return open_document(name, data, budget(**changed))
    except BadRequest as why:
        if why.code == "document_needs_extra":
            pytest.skip(why.message)
        raise


def outcome(name: str, data: bytes) -> str:
    """The code of the error, "" for a document; anything else is a defect."""
    try:
        document = open_document(name, data, budget(unpacked_bytes=50 << 20))
    except BadRequest as why:
        assert why.code in CODES, why.code
        assert name not in why.text
        return why.code
    assert isinstance(document, Document)
    return ""


@pytest.fixture(params=SHELF.names())
def kind(request):
    return request.param


def check_shape(module) -> None:
    assert module.NAME
    assert all(e.startswith(".") and e == e.lower() for e in module.ENDINGS) and module.ENDINGS
    assert all("/" in media_type for media_type in module.MEDIA_TYPES) and module.MEDIA_TYPES
    assert isinstance(module.EXTRA, str)


def check_document(kind: str, name: str, document: Document) -> None:
    assert document.name == name
    assert document.media_type in SHELF.load(kind).MEDIA_TYPES
    assert document.blocks
    assert TITLE in document.title or TITLE in document.whole_text
    for block in document.blocks:
        assert block.text.strip()
        assert block.kind in ("heading", "paragraph", "item", "table", "code")
        assert (block.level > 0) == (block.kind == "heading")
        assert 0 <= block.page <= max(document.pages, 0)
        if block.kind == "table":
            assert block.text.split("\n")[1].startswith("| ---")


def check_refusals(kind: str, name: str, data: bytes) -> None:
    assert outcome(name, b"") == "empty_document"
    noise = random.Random(5).randbytes(3000)
    assert outcome(name, b"\0\1\2\3" + noise) in CODES
    for share in (0.1, 0.5, 0.9, 0.99):
        outcome(name, data[: int(len(data) * share)])
    for place in range(7, len(data), max(len(data) // 12, 1)):
        outcome(name, data[:place] + noise[:40] + data[place + 40 :])
    with pytest.raises(BadRequest) as caught:
        open_document(name, data, budget(characters=3))
    assert caught.value.code in ("document_too_large", "document_needs_extra")


def test_it_says_what_it_is(kind):
    check_shape(SHELF.load(kind))


def test_no_two_types_have_the_same_ending():
    endings = [ending for one in SHELF.all().values() for ending in one.ENDINGS]
    assert len(endings) == len(set(endings))


def test_a_real_file_becomes_a_document(kind):
    name, data = sample(kind)
    assert kind_of(name, data) == kind
    check_document(kind, name, read_or_skip(name, data))


def test_what_stands_in_a_file_comes_in_its_order(kind):
    if kind not in SAMPLES:
        pytest.skip("a type that brings its own example")
    name, data = sample(kind)
    text = read_or_skip(name, data).whole_text
    places = [text.find(word if kind != "image" else word[:5]) for word in WORDS]
    assert -1 not in places and places == sorted(places), text


def test_the_beginning_of_a_file_is_enough_to_tell_its_type(kind):
    name, data = sample(kind)
    assert kind_of(name, data[: len(data) // 2]) == kind


def test_broken_truncated_and_empty_files_are_named_errors_or_less_text(kind):
    name, data = sample(kind)
    check_refusals(kind, name, data)


@pytest.mark.parametrize("ending", [".txt", ".pdf", ".docx", ".xyz", ""])
def test_content_that_is_sure_decides_over_a_wrong_ending(kind, ending):
    _, data = sample(kind)
    if kind in NAMED:
        assert outcome(f"a{ending}", data) == ""
    else:
        assert kind_of(f"a{ending}", data) == kind


def test_characters_that_nobody_sees_are_removed_and_counted(kind):
    if kind not in SAMPLES or kind == "image":
        pytest.skip("nothing unseen can be put into it")
    name, make = SAMPLES[kind]
    document = open_document(name, make("per\u200bch\U000e0041é"), budget())
    assert "perché" in document.whole_text
    assert "\u200b" not in document.whole_text and "\U000e0041" not in document.whole_text
    assert document.invisible == 2


def test_a_command_reads_the_text_of_every_type(tmp_path: Path):
    kept = {}
    for kind, (name, make) in SAMPLES.items():
        if kind != "image":
            path = tmp_path / f"{kind}{ending_of(name)}"
            path.write_bytes(make())
            kept[kind] = path
    with Texts() as texts:
        for kind, path in kept.items():
            text = texts.of(path)
            places = [text.find(word) for word in WORDS]
            assert -1 not in places, (kind, text)
    assert text_of(kept["docx"]) == open_document("a.docx", make_docx(), budget()).whole_text
    # What is text already keeps its marks.
    assert text_of(kept["markdown"]).startswith("# ")
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7 \0\1\2")
    with pytest.raises(BadRequest) as caught:
        text_of(tmp_path / "broken.pdf")
    assert caught.value.message.startswith("broken.pdf cannot be read")


THIRD_PARTY = '''
    """Text that is turned by thirteen letters."""

    import codecs

    from dimora.documents import refusals
    from dimora.documents._blocks import Blocks
    from dimora.documents._decoding import decoded
    from dimora.documents.base import Budget, Document

    NAME = "turned text"
    ENDINGS = (".rot13",)
    MEDIA_TYPES = ("text/x-rot13",)
    EXTRA = ""


    def is_it(head: bytes, name: str) -> bool:
        return head.startswith(b"ebg13:")


    def read(data: bytes, name: str, budget: Budget) -> Document:
        if not data.startswith(b"ebg13:"):
            raise refusals.unreadable(NAME)
        blocks = Blocks(budget)
        blocks.add("paragraph", codecs.decode(decoded(data)[6:], "rot13"))
        return Document(name=name, media_type=MEDIA_TYPES[0], blocks=blocks.all())


    def example() -> bytes:
        return b"ebg13: Qvzben ernqf guvf."
'''


def test_a_new_file_on_the_shelf_is_held_by_the_same_tests(tmp_path: Path, monkeypatch):
    (tmp_path / "rot13.py").write_text(textwrap.dedent(THIRD_PARTY))
    monkeypatch.setattr(documents, "__path__", [*documents.__path__, str(tmp_path)])
    assert "rot13" in SHELF.names()
    name, data = sample("rot13")
    assert ending_of(name) == ".rot13"
    check_shape(SHELF.load("rot13"))
    check_document("rot13", name, open_document(name, data, budget()))
    check_refusals("rot13", name, data)
    assert kind_of("a.pdf", data) == "rot13"
