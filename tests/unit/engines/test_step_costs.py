"""Guesses are as many as pay, by what steps were seen to take."""

from __future__ import annotations

import pytest

from dimora.engines._step_costs import LEAST_TOKENS, Pace, StepCosts


def costs(**milliseconds: float) -> StepCosts:
    """Of steps by rows, such as `_1=20`."""
    made = StepCosts()
    for rows, took in milliseconds.items():
        for _ in range(3):
            made.note(int(rows[1:]), took / 1000)
    return made


def begun() -> Pace:
    """One that has seen the first step, in which matrices are packed."""
    pace = Pace(64)
    usual = pace.tokens()
    pace.note(128, 60.0)
    assert pace.tokens() == usual
    return pace


FLAT = costs(_1=20, _4=20.2, _16=21)
STEEP = costs(_1=19, _2=21, _4=26, _8=45, _16=70)


def test_what_is_between_two_that_were_seen_is_in_proportion() -> None:
    assert STEEP.seconds(3) == pytest.approx(0.0235)


def test_what_was_not_seen_is_taken_for_the_nearest_that_was() -> None:
    made = costs(_2=20)
    assert made.seconds(1) == made.seconds(16) == pytest.approx(0.020)


def test_more_rows_never_count_for_less_time() -> None:
    made = costs(_1=30, _8=20)
    assert made.seconds(8) >= made.seconds(4) >= made.seconds(1)


def test_where_rows_cost_little_sure_guesses_are_many() -> None:
    assert FLAT.best_guess(0.95, 1, 1, 15) == 15


def test_where_rows_cost_much_guesses_stop_before_they_cost_more_than_they_bring() -> None:
    assert STEEP.best_guess(0.8, 1, 1, 15) == 3
    assert STEEP.best_guess(0.3, 1, 1, 15) == 1
    assert STEEP.best_guess(0.05, 1, 1, 15) == 0


def test_rows_of_others_count() -> None:
    assert STEEP.best_guess(0.9, 4, 4, 4) < STEEP.best_guess(0.9, 1, 1, 4)


def test_before_anything_was_seen_the_most_are_tried() -> None:
    assert StepCosts().best_guess(0.5, 1, 1, 15) == 15


def test_what_is_seen_later_counts_more_and_more() -> None:
    made = costs(_1=20)
    for _ in range(20):
        made.note(1, 0.040)
    assert made.seconds(1) == pytest.approx(0.040, rel=0.01)


def test_the_first_step_of_so_many_rows_is_not_counted() -> None:
    made = costs(_1=20)
    made.note(2, 1.0)
    assert made.seconds(2) == pytest.approx(0.020)


def test_a_change_of_rows_costs_what_it_was_seen_to_cost() -> None:
    made = costs(_4=26, _1=20)
    assert made.best_guess(0.5, 1, 1, 3) > 0
    for _ in range(8):
        made.note(4, 0.056)
        made.note(1, 0.050)
    assert made.seconds(4) == pytest.approx(0.026) and made.seconds(1) == pytest.approx(0.020)
    assert made.best_guess(0.5, 1, 1, 3) == 0
    # Who guesses already, and is right, goes on.
    made.note(4, 0.056)
    assert made.best_guess(0.9, 1, 1, 3) == 3


def test_a_prompt_between_is_a_change_too() -> None:
    made = costs(_1=20)
    made.note(0, 1.0)
    made.note(1, 0.050)
    assert made.seconds(1) == pytest.approx(0.020)


def test_steps_of_prompts_are_as_long_as_a_moment() -> None:
    pace = begun()
    pace.note(128, 1.28)
    assert pace.tokens() == 64
    pace.note(8, 8.0)
    assert pace.tokens() == 64
    slow = begun()
    slow.note(128, 128.0)
    assert slow.tokens() == LEAST_TOKENS


def test_other_work_in_a_step_leaves_less_time_to_read_and_never_too_little() -> None:
    pace = Pace(128)
    pace.note(128, 60.0)
    pace.note(128, 128 / 330)
    assert (pace.tokens(), pace.tokens(0.1), pace.tokens(0.25)) == (256, 256, 128)
    assert pace.tokens(20.0) == 128
    # What was guessed of the other work was far too much.
    pace.note(128, 1.0, 20.0)
    assert pace.tokens(0.25) == 128
    slow = Pace(128)
    slow.note(128, 60.0)
    slow.note(128, 128 / 50)
    assert slow.tokens(0.5) == 64


@pytest.mark.parametrize(
    ("rate", "tokens"),
    [(40, LEAST_TOKENS), (78, 64), (128, 128), (200, 128), (240, 192), (9e3, 256)],
)
def test_a_prompt_is_read_in_as_many_tokens_as_kernels_take_well(rate: float, tokens: int) -> None:
    pace = begun()
    pace.note(128, 128 / rate)
    assert pace.tokens() == tokens
