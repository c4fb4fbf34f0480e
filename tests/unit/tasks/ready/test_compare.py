"""Differences are found without a model."""

from __future__ import annotations

import asyncio

from dimora.tasks.ready import compare
from dimora.tasks.ready.compare import Change, clauses_of, find_changes
from tests.unit.tasks.ready.speaking import result_of

OLD = "1. The rent is 800 euros a month.\n\n2. Either party may leave.\n\n3. Pets are allowed."


def test_clauses_are_paragraphs_and_numbered_lines():
    assert clauses_of("Intro\nline\n1. one\n2) two\n\n- three") == [
        "Intro line",
        "1. one",
        "2) two",
        "- three",
    ]


def test_the_same_text_has_no_differences_whatever_its_line_breaks():
    assert find_changes(OLD, OLD.replace(" euros", "\neuros").upper()) == ([], 3)


def test_a_new_number_alone_changes_no_clause():
    changes, same = find_changes(OLD, "0. Preamble.\n\n" + OLD.replace("3.", "4."))
    assert (changes, same) == ([Change("added", "", "0. Preamble.")], 3)


def test_changed_added_and_removed_are_told_apart():
    new = (
        "1. The rent is 950 euros a month.\n\n2. Either party may leave.\n\n3. Tenants pay repairs."
    )
    changes, same = find_changes(OLD, new)
    assert same == 1
    assert changes == [
        Change("changed", "1. The rent is 800 euros a month.", "1. The rent is 950 euros a month."),
        Change("added", "", "3. Tenants pay repairs."),
        Change("removed", "3. Pets are allowed.", ""),
    ]


def test_against_nothing_all_is_added_or_removed():
    assert [c.kind for c in find_changes("", OLD)[0]] == ["added"] * 3
    assert [c.kind for c in find_changes(OLD, "")[0]] == ["removed"] * 3


def _many(end: str) -> str:
    return "\n\n".join(f"clause {n} says word{n} and other{n} {end}" for n in range(400))


def test_of_very_many_clauses_each_is_paired_near_its_place(monkeypatch):
    monkeypatch.setattr(compare, "_PAIRS_AT_MOST", 400)
    monkeypatch.setattr(compare, "_STEPS_AT_MOST", 0)
    changes, same = find_changes(_many("old"), _many("new"))
    assert same == 0
    assert [(c.before, c.after) for c in changes] == list(
        zip(_many("old").split("\n\n"), _many("new").split("\n\n"), strict=True)
    )


def test_only_clauses_that_share_words_are_compared_by_their_order(monkeypatch):
    monkeypatch.setattr(compare.difflib, "SequenceMatcher", None)
    changes, _ = find_changes("one two\n\nthree four", "five six\n\nseven one eight nine")
    assert {change.kind for change in changes} == {"added", "removed"}


def test_the_order_of_words_tells_which_of_two_clauses_was_changed():
    old = "d c b a x y\n\na b c d x y"
    assert find_changes(old, "a b c d x z")[0][0].before == "a b c d x y"


def test_the_clauses_are_paired_off_the_event_loop(monkeypatch):
    ran = []
    monkeypatch.setattr(compare, "find_changes", lambda *_: ran.append(_in_loop()) or ([], 0))
    request = compare.Compare(text="a", other="b")
    asyncio.run(result_of(compare, request, lambda _: ""))
    assert ran == [False]


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
