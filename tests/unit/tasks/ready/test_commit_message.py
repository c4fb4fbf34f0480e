"""A message is made of what a model wrote."""

from __future__ import annotations

import pytest

from dimora.core.errors import BadRequest
from dimora.tasks.ready.commit_message import (
    EXAMPLE,
    files_of,
    make_message,
    read_message,
    shortened,
)


def test_the_files_of_a_diff_are_found():
    assert files_of(EXAMPLE["diff"]) == ("prices.py",)
    gone = "--- a/old.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"
    assert files_of(gone) == ("old.py",)


def test_what_is_no_diff_is_refused():
    with pytest.raises(BadRequest):
        files_of("Dear all,\nnothing changed.")


def test_a_long_subject_is_cut_at_a_word():
    line = shortened("word " * 30)
    assert len(line) <= 72 and line.endswith("word")
    assert shortened("Round prices.") == "Round prices"
    assert len(shortened("x" * 100)) == 72


def test_subject_and_points_are_read_from_what_a_model_writes():
    told = "```\nSubject: Round the total\n\n- no prices are 0.0\n* two digits\n```"
    assert read_message(told) == ("Round the total", ["no prices are 0.0", "two digits"])
    assert read_message("- only a point") == ("only a point", ["only a point"])
    assert read_message("") == ("", [])


def test_a_message_has_subject_and_points_and_never_nothing():
    made = make_message("Round it", ["a", "a", "Round it."], ("p.py",), "fix")
    assert made.message == "fix: Round it\n\n- a"
    assert make_message("", [], ("p.py",), "").message == "p.py"
