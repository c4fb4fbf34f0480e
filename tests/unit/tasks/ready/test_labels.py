"""Probabilities of labels, from log-probabilities of whichever kind."""

from __future__ import annotations

import asyncio
import math

import pytest

from dimora.core.errors import BadRequest
from dimora.tasks.ready._labels import check_labels, corrected, ranked, shares_of, told_apart

TRUE = [0.7, 0.2, 0.1]


def test_shares_among_all_tokens_are_made_to_add_up():
    # The opening quote has the same probability before each label.
    raw = [math.log(0.03 * p) for p in TRUE]
    assert shares_of(raw) == pytest.approx(TRUE)


def test_shares_among_the_allowed_are_taken_one_after_the_other():
    allowed = [math.log(0.7), math.log(0.2 / 0.3), 0.0]
    assert shares_of(allowed) == pytest.approx(TRUE)


def test_a_label_that_takes_all_leaves_next_to_nothing():
    for logprobs in ([0.0, 0.0], [-1e-12, 0.0], [-1e-9, -40.0]):
        first, second = shares_of(logprobs)
        assert first == pytest.approx(1.0)
        assert 0 <= second < 1e-6


def test_two_labels_alike_have_half_each_in_either_kind():
    assert shares_of([math.log(0.5), 0.0]) == pytest.approx([0.5, 0.5])
    assert shares_of([math.log(0.5), math.log(0.5)]) == pytest.approx([0.5, 0.5])


def test_a_habit_of_the_model_is_taken_out():
    assert corrected({"a": 0.8, "b": 0.2}, {"a": 0.8, "b": 0.2}) == pytest.approx(
        {"a": 0.5, "b": 0.5}
    )


def test_the_likeliest_comes_first():
    assert [one.label for one in ranked({"a": 0.1, "b": 0.7, "c": 0.2})] == ["b", "c", "a"]


@pytest.mark.parametrize(
    "labels", [(), ("a",), ("a", " "), ("a", "A "), tuple(map(str, range(33)))]
)
def test_labels_that_are_no_choice_are_refused(labels):
    with pytest.raises(BadRequest):
        check_labels(labels)


class Words:
    """A tokenizer that knows some words whole, and else letters."""

    def __init__(self, *known: str) -> None:
        self._known = sorted(known, key=len, reverse=True)

    def _cut(self, text: str) -> list[str]:
        pieces = []
        while text:
            piece = next((word for word in self._known if text.startswith(word)), text[0])
            pieces.append(piece)
            text = text[len(piece) :]
        return pieces

    async def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        return [int.from_bytes(piece.encode()) for piece in self._cut(text)]

    async def detokenize(self, tokens: list[int]) -> str:
        return "".join(t.to_bytes((t.bit_length() + 7) // 8).decode() for t in tokens)


@pytest.mark.parametrize(
    ("known", "apart"),
    [
        (("neutral", "negative"), True),
        (("ne", "utral", "gative"), False),
        (("ne", "neg", "utral", "ative"), False),
        (('"neut', '"neg', "ative", "ral"), True),
    ],
)
def test_letters_stand_before_labels_only_where_their_tokens_begin_alike(known, apart):
    shown = asyncio.run(told_apart(("neutral", "negative"), Words(*known)))
    assert (shown == ("neutral", "negative")) is apart
    if not apart:
        assert shown == ("A neutral", "B negative")


def test_a_label_that_another_begins_with_is_told_apart():
    shown = asyncio.run(told_apart(("bill", "billing"), Words("bill", "ing")))
    assert shown == ("A bill", "B billing")
