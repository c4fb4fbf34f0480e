"""Differences are found without a model."""

from __future__ import annotations

from dimora.tasks.ready.compare import Change, clauses_of, find_changes

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
