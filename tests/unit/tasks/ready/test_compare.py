"""Differences are found without a model."""

from __future__ import annotations

import asyncio

import pytest

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


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("800 euro al mese", "950 euro al mese"),
        ("30 giorni", "60 giorni"),
        ("1.500 euro al mese", "1.800 euro al mese"),
        ("2.5 hours a day", "3.5 hours a day"),
        ("01.03.2026 is the first day", "01.04.2026 is the first day"),
        ("- 800 euro", "- 950 euro"),
    ],
)
def test_an_amount_that_a_clause_begins_with_is_no_number_of_the_clause(before, after):
    changes, same = find_changes(f"Canone\n\n{before}\n\nFine", f"Canone\n\n{after}\n\nFine")
    assert (changes, same) == ([Change("changed", before, after)], 2)


def test_numbers_without_a_mark_are_those_of_clauses_where_they_count_on():
    old = "1.1 One thing.\n\n1.2 Another.\n\n1.2.1 A third.\n\n2.1 A fourth."
    new = "2.1 One thing.\n\n2.2 Another.\n\n2.2.1 A third.\n\n3.1 A fourth."
    assert find_changes(old, new) == ([], 4)


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
