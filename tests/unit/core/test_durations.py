from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimora.core.durations import FOREVER, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10m", 600),
        ("24h", 86400),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        ("250ms", 0.25),
        ("0", 0),
        ("0s", 0),
        ("-1m", FOREVER),
        ("-0s", 0),
        ("+5s", 5),
        ("2000000h", 7.2e9),
        ("3000000h", FOREVER),
        ("9" * 400 + "h", FOREVER),
    ],
)
def test_go_durations_are_understood(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "300", "5 m", "m", "5x", "5m3", "1h-3m", "--5m", "∞"])
def test_what_go_refuses_is_refused(text):
    with pytest.raises(ValueError, match="invalid duration"):
        parse_duration(text)


@given(st.integers(0, 10**7))
def test_what_is_written_is_read_again(seconds):
    assert parse_duration(format_duration(seconds)) == seconds


def test_forever_is_written_as_minus_one():
    assert format_duration(FOREVER) == "-1"
