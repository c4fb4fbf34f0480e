"""The parts of a summary that no model is needed for."""

from __future__ import annotations

from dimora.tasks.ready._desk import Answer
from dimora.tasks.ready.summarize import points_of


def test_points_lose_their_marks():
    assert points_of("Here it is:\n- one\n* two\n3. three\n") == ("one", "two", "three")


def test_a_text_without_marks_is_one_point_for_each_line():
    assert points_of("one\n\ntwo") == ("one", "two")


def test_a_cut_text_ends_with_its_last_whole_sentence():
    assert Answer("One is 3.5 high. Two is", cut=True).ended() == "One is 3.5 high."
    assert Answer("no end at all", cut=True).ended() == "no end at all"
    assert Answer(" whole ").ended() == "whole"
