"""What stood in a text before is guessed again, as long as that is right."""

from __future__ import annotations

from dimora.engines._guesses import Guesses


def of(*tokens: int) -> Guesses:
    guesses = Guesses()
    guesses.extend(tokens)
    return guesses


def test_what_followed_the_same_tokens_is_guessed() -> None:
    assert of(1, 2, 3, 4, 5, 1, 2, 3).next(8) == [4, 5, 1, 2]


def test_it_is_what_followed_last() -> None:
    assert of(1, 2, 3, 4, 1, 2, 3, 9, 1, 2, 3).next(1) == [9]


def test_nothing_is_guessed_of_what_is_new() -> None:
    assert of(1, 2, 3, 4, 5).next(8) == []
    assert of(1, 2).next(8) == []
    assert of().next(8) == []


def test_no_more_than_is_asked_for() -> None:
    assert of(1, 2, 3, 4, 5, 1, 2, 3).next(2) == [4, 5]
    assert of(1, 2, 3, 4, 5, 1, 2, 3).next(0) == []
    assert of(1, 2, 3, 4, 5, 1, 2, 3).next(-3) == []


def test_right_guesses_reach_further_and_wrong_ones_less_far() -> None:
    guesses = of(*range(40), 0, 1, 2)
    assert guesses.next(16) == [3, 4, 5, 6]
    guesses.learn(4, 4)
    assert len(guesses.next(16)) == 8
    guesses.learn(8, 2)
    assert len(guesses.next(16)) == 3


def test_after_wrong_guesses_there_is_a_pause_that_grows() -> None:
    guesses = of(*range(40), 0, 1, 2)
    pauses = []
    for _ in range(3):
        assert guesses.next(4)
        guesses.learn(4, 0)
        count = 0
        while not guesses.next(4):
            guesses.extend([0, 1, 2])
            count += 3
        pauses.append(count)
    assert pauses[0] < pauses[1] < pauses[2]
