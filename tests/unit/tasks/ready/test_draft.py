"""What is missing in a draft, and what is too much."""

from __future__ import annotations

from dimora.tasks.ready._desk import Answer
from dimora.tasks.ready.draft import _faults, judge

POINTS = "- call Anna Rossi before 14:30\n- budget 1,200 euros"


def test_a_draft_with_all_names_and_numbers_is_complete():
    told = judge(Answer("Please call Anna Rossi before 14:30: 1200 euros."), POINTS, POINTS)
    assert (told.complete, told.missing, told.unsupported) == (True, (), ())


def test_what_was_left_out_and_what_was_made_up_are_told():
    told = judge(Answer("Please call Anna Rossi at 15: Marco Bianchi waits."), POINTS, POINTS)
    assert {u.value for u in told.missing} == {"14", "30", "1,200"}
    assert {u.value for u in told.unsupported} == {"15", "Marco", "Bianchi"}
    assert not told.complete


def test_nothing_is_worse_than_any_draft():
    empty, poor = judge(Answer(""), POINTS, POINTS), judge(Answer("Hello."), POINTS, POINTS)
    assert _faults(empty) > _faults(poor)


def test_places_left_open_are_told_and_are_no_invention():
    told = judge(
        Answer("Dear [Landlord's Name],\nthe heating is broken.\n[Your Name]"), "heating", ""
    )
    assert told.to_fill == ("[Landlord's Name]", "[Your Name]")
    assert told.unsupported == ()


def test_capital_letters_of_a_subject_are_no_names_but_its_numbers_count():
    told = judge(Answer("Subject: Broken Heating in Flat 13\n\nPlease come."), "flat 12", "flat 12")
    assert [one.value for one in told.unsupported] == ["13"]
    told = judge(Answer("Oggetto: la caldaia di Rossi non va\n\nVenga."), "caldaia", "caldaia")
    assert [one.value for one in told.unsupported] == ["Rossi"]
