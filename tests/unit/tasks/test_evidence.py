"""Whether something was found is decided by numbers alone."""

from __future__ import annotations

import pytest

from dimora.tasks.knowing import Passage, Piece
from dimora.tasks.retrieving import Evidence, evidence_of


def passage(similarity: float, words: float = -1.0) -> Passage:
    return Passage(
        collection="c",
        document="d",
        document_id="1",
        piece=Piece(number=0, text="x"),
        similarity=similarity,
        word_share=words,
    )


def test_nothing_found_is_no_evidence() -> None:
    assert evidence_of([]) == Evidence(similarity=0.0, lead=0.0, word_share=0.0)
    assert not evidence_of([]).is_enough


def test_the_lead_is_over_the_middle_of_those_looked_at() -> None:
    found = evidence_of([passage(0.9), passage(0.8), passage(0.7), passage(-1.0, 0.4)])
    assert found.similarity == 0.9 and found.word_share == 0.4
    assert found.lead == pytest.approx(0.1)


def test_what_is_near_and_stands_out_is_enough_without_a_common_word() -> None:
    assert evidence_of([passage(0.95, 0.0), *[passage(0.75, 0.0)] * 20]).is_enough


def test_what_is_as_far_as_everything_else_is_not() -> None:
    assert not evidence_of([passage(0.76, 0.1)] * 20).is_enough
