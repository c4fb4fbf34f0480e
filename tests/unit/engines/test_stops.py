"""Stop strings in a text that arrives in pieces."""

from __future__ import annotations

import pytest

from dimora.engines._stops import StopFilter


def told(stops: list[str], pieces: list[str]) -> str:
    filter_ = StopFilter(stops)
    return "".join(filter_.feed(p) for p in pieces) + filter_.finish()


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_nothing_of_a_stop_string_gets_through(size):
    text = "one two STOP three"
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    assert told(["STOP"], pieces) == "one two "


def test_what_only_looks_like_a_stop_string_comes_at_the_end():
    assert told(["STOP"], ["one ST"]) == "one ST"


def test_the_first_of_several_stop_strings_counts():
    assert told(["b", "a"], ["xxab"]) == "xx"
