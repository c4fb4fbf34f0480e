"""How far two prompts begin alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimora.engines._beginnings import saved_length, shared_length


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [([], [1], 0), ([1, 2], [1, 2], 2), ([1, 2, 3], [1, 2], 2), ([1, 5], [1, 6], 1), ([2], [1], 0)],
)  # fmt: skip
def test_what_two_prompts_have_in_common_is_counted(one, other, shared):
    assert shared_length(one, other) == shared


@given(st.text("ab"), st.text("ab"))
def test_the_shared_length_is_that_of_the_common_beginning(one: str, other: str) -> None:
    length = shared_length(one, other)
    assert one[:length] == other[:length]
    assert one[: length + 1] != other[: length + 1] or length == min(len(one), len(other))


def test_a_text_and_tokens_share_nothing() -> None:
    assert shared_length("", ()) == shared_length("a", (1,)) == 0


def test_a_short_beginning_is_not_worth_a_long_text():
    assert saved_length("abcxxx", "abcd") == 3
    assert saved_length("abc" + 6 * "x", "abcd") == 3
    assert saved_length("abc" + 7 * "x", "abcd") == 0
    assert saved_length("x", "abcd") == 0
