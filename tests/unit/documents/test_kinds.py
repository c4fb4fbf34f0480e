"""Content decides what a file is, where it is sure; its name where it is not."""

from __future__ import annotations

import pytest

from dimora.core.errors import BadRequest
from dimora.documents.kinds import ending_of, kind_of, known_endings
from tests.unit.documents.making import SAMPLES, packed


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.txt", SAMPLES["docx"][1](), "docx"),
        ("a.pdf", b"<!DOCTYPE html><p>x", "html"),
        ("a.pdf", b"only words", "text"),
        ("a.docx", b"only words", "text"),
        ("a.py", b"<html><p>x", "code"),
        ("a.MD", b"# x", "markdown"),
        ("notes", b"only words", "text"),
        ("a.json", b'{"a": 1}', "json"),
        ("a.pdf", b"\0\1\2\3", "pdf"),
        ("C:\\files\\a.CSV", b"a;b", "csv"),
        ("mail", b"Received: x\r\nFrom: a@b.c\r\n\r\nhello", "eml"),
        ("talk", b"From: you\nTo: me\n\nhello", "text"),
        ("a.html", b"\r\n<!-- saved -->\r\n<html>", "html"),
        ("a.txt", b"<!-- a --><!-- b --><html>", "html"),
        ("a.txt", b"<!-- a --> b --><html>", "text"),
        # Not in our lifetime, if every way to part them were tried.
        ("a.md", b"<!-- a -->\n" * 1000 + b"# One", "markdown"),
        ("a.pdf", b"\r\n%PDF-1.4", "pdf"),
    ],
)
def test_a_file_is_of_the_kind_its_content_tells(name, data, kind):
    assert kind_of(name, data) == kind


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("a.txt", b"", "empty_document"),
        ("a.bin", b"\0\1\2\3", "unknown_document"),
        ("a.zip", packed({"a.txt": "x"}), "unknown_document"),
        ("a", b"{\\rtf1 x}", "unknown_document"),
        ("a", b"GIF89a\0\0", "unknown_document"),
    ],
)
def test_what_is_of_no_kind_is_refused_by_name(name, data, code):
    with pytest.raises(BadRequest) as caught:
        kind_of(name, data)
    assert caught.value.code == code


def test_all_endings_are_known():
    assert {".pdf", ".docx", ".msg", ".tiff", ".py", ".ods"} <= known_endings()
    assert ending_of("a/b.tar.GZ") == ".gz" and ending_of("b") == ""
