"""Probabilities of labels, from log-probabilities of whichever kind."""

from __future__ import annotations

import math

import pytest

from dimora.core.errors import BadRequest
from dimora.tasks.ready._labels import check_labels, corrected, ranked, shares_of

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
