"""A long text is cut where it hurts least."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dimora.tasks.ready._parts import split_text


async def count(text: str) -> int:
    return len(text.split()) or (1 if text else 0)


async def test_a_text_that_fits_stays_whole():
    assert await split_text("one two three", 3, count) == ["one two three"]


async def test_paragraphs_stay_together_while_they_fit():
    text = "a b c.\n\nd e f.\n\ng h i."
    assert await split_text(text, 6, count) == ["a b c.\n\nd e f.\n\n", "g h i."]


async def test_sentences_are_cut_before_words():
    parts = await split_text("One two three. Four five six. Seven eight.", 4, count)
    assert parts == ["One two three. ", "Four five six. ", "Seven eight."]


async def test_nothing_is_nothing():
    assert await split_text(" \n ", 5, count) == []


async def characters(text: str) -> int:
    return len(text)


async def test_a_word_without_end_is_cut_all_the_same():
    parts = await split_text("x" * 1000, 64, characters)
    assert "".join(parts) == "x" * 1000
    assert max(map(len, parts)) <= 64


@given(st.text(st.sampled_from("ab .\n!"), max_size=300))
async def test_nothing_but_white_space_is_lost_and_each_part_fits(text):
    parts = await split_text(text, 20, characters)
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(len(part) <= 20 for part in parts)
