"""Passages are found by the beginnings of their words."""

from __future__ import annotations

from dimora.tasks.matching import rank_passages, stems_of

FAQ = ["When is it open? From nine to six.", "Quanto costa la tessera?", "Borrowing books: 28 days"]


def test_common_words_accents_and_endings_do_not_count():
    assert stems_of("The libraries, perché città!") == ["libra", "citta"]


def test_the_passage_with_the_rare_word_comes_first():
    assert [at for at, _ in rank_passages("How long can I borrow a book when open?", FAQ)] == [2, 0]


def test_no_shared_word_finds_nothing():
    assert rank_passages("Do you sell coffee?", FAQ) == []
    assert rank_passages("", FAQ) == []
    assert rank_passages("x", []) == []
