"""Plain text in UTF-8 is taken as it stands, without any other process."""

from __future__ import annotations

import os
import sys

import pytest

from dimora.cli.reading import Texts, bytes_of, text_of
from dimora.core.errors import BadRequest


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.csv", "a.json", "a.py", "a", "a.pdf"])
def test_plain_text_keeps_every_mark(tmp_path, name):
    path = tmp_path / name
    path.write_bytes("\ufeff# perché;1\r\n".encode())
    with Texts() as texts:
        assert texts.of(path) == "# perché;1\r\n"


def test_plain_text_starts_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dimora.documents.reading", None)
    (tmp_path / "a.txt").write_text("words")
    assert text_of(tmp_path / "a.txt") == "words"
    (tmp_path / "empty.txt").write_text("")
    assert text_of(tmp_path / "empty.txt") == ""


def test_what_is_not_there_or_too_large_is_refused(tmp_path):
    with pytest.raises(BadRequest):
        text_of(tmp_path / "missing.txt")
    with (tmp_path / "huge.txt").open("wb") as file:
        os.truncate(file.fileno(), 300 * 2**20)
    with pytest.raises(BadRequest) as caught:
        bytes_of(tmp_path / "huge.txt")
    assert "200 MiB" in caught.value.message
