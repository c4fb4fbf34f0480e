"""Old turns go first; system, last message, and pairs of call and answer stay whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dimora.prompts.fill_in_middle import render_fill_in_middle
from dimora.prompts.truncation import turns_to_drop


def test_nothing_is_dropped_when_all_fits():
    assert turns_to_drop([1, 2, 3], [False] * 3, [False] * 3, 6) == frozenset()


def test_the_oldest_turns_go_until_the_rest_fits():
    assert turns_to_drop([5, 5, 5, 5], [False] * 4, [False] * 4, 10) == {0, 1}


def test_system_and_last_message_stay_even_when_they_are_too_long():
    assert turns_to_drop([50, 5, 50], [True, False, False], [False] * 3, 10) == {1}


def test_a_tool_answer_goes_with_its_call():
    answers = [False, False, True, True, False]
    assert turns_to_drop([5, 1, 5, 5, 5], [False] * 5, answers, 15) == {0, 1, 2, 3}


def test_the_call_of_a_last_answer_stays():
    assert turns_to_drop([5, 5, 5], [False] * 3, [False, False, True], 1) == {0}


@given(
    turns=st.lists(st.tuples(st.integers(0, 20), st.booleans(), st.booleans()), max_size=12),
    budget=st.integers(0, 100),
)
def test_what_stays_fits_or_is_all_that_must_stay(turns, budget):
    counts = [count for count, _, _ in turns]
    fixed = [is_fixed and not is_answer for _, is_fixed, is_answer in turns]
    answers = [is_answer for _, _, is_answer in turns]
    dropped = turns_to_drop(counts, fixed, answers, budget)
    kept = [at for at in range(len(turns)) if at not in dropped]
    assert all(at in kept for at, is_fixed in enumerate(fixed) if is_fixed)
    assert not turns or kept[-1] == len(turns) - 1
    for at in kept:
        if answers[at] and at > 0:
            assert at - 1 in kept, "an answer without what it answers"
    assert dropped == turns_to_drop(counts, fixed, answers, budget)


def test_the_middle_comes_after_what_is_around_it():
    text = render_fill_in_middle(("<PRE>", "<SUF>", "<MID>"), "def f():", "return x")
    assert text == "<PRE>def f():<SUF>return x<MID>"
