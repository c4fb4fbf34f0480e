"""The list of an answering task."""

from __future__ import annotations

from dimora.tasks.ready.answer import entries_of, own_words


def test_entries_are_parted_by_empty_lines():
    assert entries_of("A?\r\nyes\r\n \r\nB?\nno\n\n\n") == ["A?\nyes", "B?\nno"]


def test_the_own_words_of_an_entry_are_its_answer():
    assert own_words("Open?\nFrom nine.\nTo six.") == "From nine.\nTo six."
    assert own_words("Q: Open?\nA: From nine.") == "From nine."
    assert own_words("From nine.") == "From nine."
