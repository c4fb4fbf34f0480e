from __future__ import annotations

import pytest

from dimora.cli.words import age_words, duration_words, size_words, until_words


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (98_362_432, "98 MB"),
        (4_661_211_424, "4.7 GB"),
        (42_000_000_000, "42 GB"),
        (1_500, "2 KB"),
        (12, "12 B"),
    ],
)
def test_sizes_are_decimal_as_people_know_them(size, words):
    assert size_words(size) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (5, "Less than a minute ago"),
        (60, "1 minute ago"),
        (3 * 3600, "3 hours ago"),
        (2 * 86400, "2 days ago"),
        (15 * 86400, "2 weeks ago"),
        (400 * 86400, "1 year ago"),
    ],
)
def test_ages_are_said_in_words(seconds, words):
    assert age_words(1000.0, now=1000.0 + seconds) == words


def test_until_says_forever_and_stopping():
    assert until_words(float("inf"), now=0.0) == "Forever"
    assert until_words(250.0, now=0.0) == "4 minutes from now"
    assert until_words(0.0, now=1.0) == "Stopping..."


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2301, "230.1ms"), (1.5, "1.5s"), (123.5, "2m3.5s"), (0.0000123, "12.3µs"), (120, "2m0s")],
)
def test_durations_are_written_as_go_writes_them(seconds, words):
    assert duration_words(seconds) == words
