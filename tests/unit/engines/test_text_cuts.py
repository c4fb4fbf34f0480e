"""Where long texts are cut before they are tokenized."""

from __future__ import annotations

import pytest

from dimora.engines._text_cuts import cut_text

TEXTS = ["", "short", "word " * 5000, "line\nnext\n" * 900, "x" * 9000, "字" * 9000]


@pytest.mark.parametrize("text", TEXTS)
def test_the_pieces_join_to_the_text_and_none_is_too_long(text):
    pieces = list(cut_text(text, 2000))
    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= 2000


def test_words_are_not_cut():
    pieces = list(cut_text("word " * 5000, 2000))
    assert all(piece.endswith("word") for piece in pieces[:-1])
