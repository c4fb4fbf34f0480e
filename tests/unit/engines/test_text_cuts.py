"""Where long texts are cut before they are tokenized."""

from __future__ import annotations

import re

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


# How tokenizers after GPT-2 part a text before they join bytes, as far as it is plain letters.
GPT2 = re.compile(r" ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")


@pytest.mark.parametrize("between", ["\n", "\n\n", " \n", "\r\n", "\n\n\n", ".\n\n", "\n \n"])
def test_the_pieces_are_parted_as_the_whole_is(between):
    text = between.join(["some word"] * 200)
    for most in (50, 51, 52, 53, 54, 55):
        pieces = cut_text(text, most)
        assert [part for piece in pieces for part in GPT2.findall(piece)] == GPT2.findall(text)
