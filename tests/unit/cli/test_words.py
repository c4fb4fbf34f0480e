from __future__ import annotations

import json

import pytest

from dimora.cli.words import (
    age_words,
    duration_words,
    harmless,
    print_error,
    print_json,
    print_table,
    size_words,
    until_words,
)
from dimora.core.errors import BadRequest


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


def test_of_what_others_wrote_names_show_all_and_prose_keeps_what_looks_like_nothing():
    text = "a\u200d\x1b\n\u3000\U0003fffd\u2066"
    assert harmless(text) == "a\\u200d\\x1b\\n\\u3000\\U0003fffd\\u2066"
    assert harmless(text, prose=True) == "a\u200d\\x1b\n\u3000\U0003fffd\\u2066"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_an_error_does_not_steer_a_terminal(capsys, monkeypatch, is_terminal):
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    print_error(BadRequest("no \x1b]0;x\x07", hint="see\x9b1A"))
    said = capsys.readouterr().err
    shown = "Error: no \\x1b]0;x\\x07\n  see\\x9b1A\n"
    assert said == (shown if is_terminal else "Error: no \x1b]0;x\x07\n  see\x9b1A\n")


def test_json_has_no_control_characters_and_means_the_same(capsys):
    value = {"a": "\x1b[2J\x7f\x9d52\u00e8"}
    print_json(value)
    told = capsys.readouterr().out
    assert json.loads(told) == value
    assert all(letter.isprintable() or letter == "\n" for letter in told)


HEADS = ("NAME", "SIZE", "SOURCE")
ROWS = (("short", "1 GB", "the house"), ("a-name-that-is-far-longer-than-others", "2 GB", "hub"))


@pytest.fixture
def terminal(monkeypatch):
    def make(columns):
        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("NO_COLOR", "1")

    return make


def test_a_table_for_a_program_is_as_wide_as_it_is(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    print_table(HEADS, ROWS, least=("SOURCE",))
    heads, short, long = capsys.readouterr().out.splitlines()
    assert long == f"{ROWS[1][0]}    2 GB    hub"
    assert heads.index("SOURCE") == short.index("the house") == long.index("hub")


def test_a_table_fits_the_terminal_and_says_what_it_left_out(capsys, terminal):
    terminal(34)
    print_table(HEADS, ROWS, least=("SOURCE",))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "SIZE"]
    assert lines[2:4] == [ROWS[1][0], "2 GB".rjust(len(lines[3]))]
    assert "without SOURCE" in lines[-1]
    assert len(lines[1]) <= 34 and lines[1].endswith("1 GB")


def test_a_wide_terminal_shows_all_of_a_table(capsys, terminal):
    terminal(200)
    print_table(HEADS, ROWS, least=("SOURCE",))
    assert "SOURCE" in capsys.readouterr().out
    print_table(HEADS, [], least=("SOURCE",))
    assert capsys.readouterr().out.split() == list(HEADS)
