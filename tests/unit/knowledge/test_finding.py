"""Pieces are found by meaning and by word, and both make one order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dimora.core.errors import BadRequest, NotFound
from dimora.knowledge.keeping import Keeper
from dimora.knowledge.vectors import packed
from dimora.tasks.knowing import Piece
from tests.unit.knowledge.making import axis, keeper_with_notes, known, put, search, vector_of


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    return keeper_with_notes(tmp_path)


def names(passages: list) -> list[str]:
    return [passage.document for passage in passages]


def test_words_are_found_whatever_their_accents_capitals_and_endings(keeper: Keeper):
    put(keeper, "notes", "rent.txt", "Il CONTRATTO di locazione della città")
    put(keeper, "notes", "walnut.txt", "two walnuts")
    for question in ("contratti", "citta", "Qual è il contratto?", "locazioni"):
        assert names(search(keeper, question)) == ["rent.txt"], question
    assert search(keeper, "nothing of that kind") == []


def test_only_common_words_find_something_where_a_question_has_no_others(keeper: Keeper):
    put(keeper, "notes", "a.txt", "to be or not to be")
    put(keeper, "notes", "b.txt", "walnut")
    assert names(search(keeper, "to be or not")) == ["a.txt"]
    assert search(keeper, "to be or a hazelnut") == []


def test_a_rare_word_weighs_more_than_a_common_one(keeper: Keeper):
    for at in range(20):
        put(keeper, "notes", f"{at}.txt", f"invoice of customer{at} for walnuts")
    put(keeper, "notes", "rare.txt", "a letter about hazelnuts with many other words in it")
    assert names(search(keeper, "invoice hazelnuts", limit=1)) == ["rare.txt"]


def test_meaning_finds_what_no_word_does_and_tells_the_cosine(keeper: Keeper):
    put(keeper, "notes", "a.txt", "one", vectors=[axis(0)])
    put(keeper, "notes", "b.txt", "two", vectors=[axis(1)])
    put(keeper, "notes", "c.txt", "three", vectors=[axis(0, lean=1.0)])
    found = search(keeper, vector=[7 * x for x in axis(0)])
    assert names(found) == ["a.txt", "c.txt", "b.txt"]
    assert [passage.similarity for passage in found] == pytest.approx([1, 0.5**0.5, 0], abs=1e-3)
    assert [passage.word_share for passage in found] == [-1, -1, -1]


def test_what_both_halves_find_goes_before_what_one_finds(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("dimora.knowledge.finding._CANDIDATES", 3)
    for at in range(2):
        put(keeper, "notes", f"word{at}.txt", f"walnut word{at}", vectors=[axis(3)])
        put(keeper, "notes", f"meaning{at}.txt", f"nothing{at}", vectors=[axis(0, lean=at / 10)])
    put(keeper, "notes", "both.txt", "the walnut of the old garden", vectors=[axis(0, lean=0.4)])
    found = search(keeper, "walnut", axis(0), limit=1)
    assert names(found) == ["both.txt"]
    found = search(keeper, "walnut", axis(0), limit=5)
    assert [p.score for p in found] == sorted((p.score for p in found), reverse=True)
    shares = {p.document: p.word_share for p in found}
    assert (shares["both.txt"], shares["word0.txt"], shares["meaning0.txt"]) == (1, 1, 0)


def test_words_that_stand_nowhere_count_against_the_share(keeper: Keeper):
    put(keeper, "notes", "a.txt", "walnut")
    put(keeper, "notes", "b.txt", "chestnut")
    (found,) = search(keeper, "walnut zeppelin")
    assert 0 < found.word_share < 0.5


def test_what_says_the_same_is_told_once_but_numbers_make_a_difference(keeper: Keeper):
    text = "the swallow flies over the village in the evening of a long summer day and it sings"
    put(keeper, "notes", "a.txt", text)
    put(keeper, "notes", "copy.txt", text.upper())
    put(keeper, "notes", "near.txt", text + " again")
    put(keeper, "notes", "2.txt", text + " 2")
    put(keeper, "notes", "3.txt", text + " 3")
    found = names(search(keeper, "swallow village", limit=9))
    assert len(found) == 3
    assert {"2.txt", "3.txt"} < set(found)


def test_headings_are_searched_as_well(keeper: Keeper):
    piece = Piece(number=0, text="thirty days", headings=("Lease", "Notice", "Period"))
    keeper.put("notes", known("a.txt"), [piece], [axis(0)])
    assert names(search(keeper, "notice period")) == ["a.txt"]
    # Those far above are of the whole document.
    assert search(keeper, "lease") == []


def test_several_collections_are_searched_as_one(keeper: Keeper):
    keeper.make_collection("more", "embedder", hidden=False)
    keeper.make_collection("empty", "embedder", hidden=False)
    put(keeper, "notes", "a.txt", "the walnut of the old garden", vectors=[axis(1)])
    put(keeper, "more", "a.txt", "walnut tree", vectors=[axis(0)])
    found = search(keeper, "walnut", axis(0), collections=["notes", "more", "empty", "more"])
    assert [p.collection for p in found] == ["more", "notes"]
    with pytest.raises(NotFound):
        search(keeper, "walnut", collections=["notes", "none"])


def test_a_question_of_another_width_is_refused(keeper: Keeper):
    put(keeper, "notes", "a.txt", "one")
    with pytest.raises(BadRequest):
        search(keeper, vector=(1.0, 2.0))


def test_words_of_the_query_language_are_only_words(keeper: Keeper):
    put(keeper, "notes", "a.txt", 'the walnut OR "chestnut" NEAR it')
    for question in (
        'walnut" OR',
        "walnut AND NOT",
        "walnut*",
        "terms:walnut",
        "NEAR(walnut)",
        "^",
    ):
        assert names(search(keeper, question)) in (["a.txt"], [])
    assert names(search(keeper, 'walnut" OR')) == ["a.txt"]


def test_the_nearest_are_those_that_comparing_with_each_finds(keeper: Keeper):
    random = np.random.default_rng(5)
    made = random.standard_normal((300, 8))
    for at in range(0, 300, 50):
        texts = [f"text{row}" for row in range(at, at + 50)]
        put(keeper, "notes", f"{at}.txt", *texts, vectors=made[at : at + 50].tolist())
    keeper.remove("notes", "100.txt")
    put(keeper, "notes", "0.txt", *(f"again{row}" for row in range(50)), vectors=made[:50].tolist())
    question = random.standard_normal(8)
    there = [row for row in range(300) if not 100 <= row < 150]
    cosines = {row: made[row] @ question / np.linalg.norm(made[row]) for row in there}
    wanted = sorted(cosines, key=lambda row: -cosines[row])[:20]
    found = search(keeper, vector=question.tolist(), limit=20)
    told = [int(p.piece.text.removeprefix("text").removeprefix("again")) for p in found]
    assert told == wanted


def test_a_term_that_is_everywhere_does_not_keep_a_rarer_one_from_being_found(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("dimora.knowledge.finding._MOST_ROWS", 10)
    put(keeper, "notes", "many.txt", *(f"walnut {at}" for at in range(50)))
    put(keeper, "notes", "rare.txt", "walnut and chestnut", "chestnut")
    found = search(keeper, "walnut chestnut", limit=2)
    assert {p.piece.text for p in found} == {"walnut and chestnut", "chestnut"}
    # Alone it finds some of the pieces it is in.
    assert len(search(keeper, "walnut", limit=3)) == 3


def test_vectors_are_kept_at_length_one():
    width, data = packed([(3.0, 4.0), (0.0, 0.0)])
    assert width == 2
    made = np.frombuffer(data, np.float16).reshape(2, 2)
    assert made[0] == pytest.approx([0.6, 0.8], abs=1e-3)
    assert made[1] == pytest.approx([0, 0])


def test_vectors_of_texts_differ():
    assert vector_of("a") != vector_of("b")
