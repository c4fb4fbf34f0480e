"""Whether something was found is decided by numbers alone."""

from __future__ import annotations

from dimora.tasks.evidence import Evidence, evidence_of, names_in
from dimora.tasks.knowing import Passage, Piece


def passage(
    similarity: float, words: float = -1.0, *, text: str = "x", score: float = 0.0
) -> Passage:
    return Passage(
        collection="c",
        document="d",
        document_id="1",
        piece=Piece(number=0, text=text),
        score=score,
        similarity=similarity,
        word_share=words,
    )


def test_nothing_found_is_no_evidence() -> None:
    none = Evidence(similarity=0.0, agreement=0.0, word_share=0.0, name_share=0.0)
    assert evidence_of("what is this?", []) == none
    assert not none.is_enough


def test_evidence_is_the_best_of_all_passages_and_the_agreement_on_the_first() -> None:
    found = evidence_of("q", [passage(0.7, 0.1, score=0.6), passage(0.9, 0.4, score=0.5)])
    assert found == Evidence(similarity=0.9, agreement=0.6, word_share=0.4, name_share=1.0)


def test_what_both_ways_have_first_with_the_questions_words_is_enough() -> None:
    assert evidence_of("who paid the rent?", [passage(0.87, 0.5, score=0.9)]).is_enough


def test_what_is_as_far_as_everything_else_is_not() -> None:
    assert not evidence_of("who paid the rent?", [passage(0.78, 0.1, score=0.3)] * 20).is_enough


def test_a_name_that_stands_in_no_passage_speaks_against_them_all() -> None:
    there = passage(0.87, 0.5, text="In the Città they run Postfix 3.", score=0.9)
    assert evidence_of("how is Postfix set up?", [there]).is_enough
    assert not evidence_of("how is Kubernetes set up?", [there]).is_enough
    assert evidence_of("what runs in the CITTA?", [there]).name_share == 1.0


def test_names_are_capitals_within_a_sentence_and_words_with_digits() -> None:
    assert names_in("¿Dónde está Madrid? ¿Y la A3?") == ("madrid", "a3")
    assert names_in("Quale versione ha Debian?") == ("debian",)
    assert names_in("What may I do? Everything.") == ()
    assert names_in("HOW DO I OPEN IT") == ()
    assert names_in("how is it opened") == ()


def test_a_question_as_long_as_a_book_is_looked_at_once() -> None:
    assert len(names_in("What does the manual say of Otto and of 5G? " * 20_000)) == 40_000
