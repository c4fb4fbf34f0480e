"""Vectors of several languages are compared without what is common to each."""

from __future__ import annotations

import numpy as np

from dimora.knowledge.across import across

TOPICS, WIDTH = 80, 64


def made(seed: int = 0):
    """Vectors that are a topic and a language; topic t is at t in Italian, at 80 + t in Spanish."""
    draw = np.random.default_rng(seed)
    topics = draw.standard_normal((TOPICS, WIDTH))
    offsets = {name: 4 * draw.standard_normal(WIDTH) for name in ("it", "es")}
    raw = np.concatenate([topics + offsets["it"], topics + offsets["es"]])
    vectors = (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)
    return vectors, ["it"] * TOPICS + ["es"] * TOPICS


def without(vectors, languages, rows):
    return vectors[rows], [languages[row] for row in rows]


def test_what_answers_in_another_language_comes_first_when_nothing_does_in_the_questions_own() -> (
    None
):
    vectors, languages = made()
    topic = 7
    rows = [row for row in range(2 * TOPICS) if row != topic]
    kept, told = without(vectors, languages, rows)
    question = vectors[topic]
    cosines = kept @ question
    answer = rows.index(TOPICS + topic)
    assert np.argmax(cosines) != answer
    known = across(kept, told)
    assert known is not None
    assert np.argmax(known.scores(cosines, question, "it")) == answer


def test_scores_are_the_cosines_of_vectors_without_their_means() -> None:
    vectors, languages = made(3)
    of = np.asarray(languages)
    means = {name: vectors[of == name].mean(axis=0) for name in ("it", "es")}
    centred = np.stack([row - means[name] for row, name in zip(vectors, languages, strict=True)])
    question = vectors[5]
    wanted = centred @ (question - means["it"]) / np.linalg.norm(centred, axis=1)
    known = across(vectors, languages)
    assert known is not None
    got = known.scores(vectors @ question, question, "it")
    np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_one_language_has_nothing_to_be_compared_across() -> None:
    vectors, _ = made()
    assert across(vectors, ["it"] * len(vectors)) is None
    assert across(vectors, ["it"] * (len(vectors) - 3) + ["es"] * 3) is None
    assert across(vectors, [""] * TOPICS + ["it"] * TOPICS) is None


def test_pieces_of_no_known_language_are_compared_all_the_same() -> None:
    vectors, languages = made()
    languages[:20] = [""] * 20
    known = across(vectors, languages)
    assert known is not None
    scores = known.scores(vectors @ vectors[50], vectors[50], "it")
    assert np.isfinite(scores).all()
    assert np.argmax(scores) == 50
