from __future__ import annotations

import math

import numpy as np
import pytest

from dimora.core.errors import InternalError, InvalidModel
from dimora.models.converting.probabilities import Reader, Text, compare, write_probabilities

VOCABULARY = 7
TEXT = Text(window_tokens=4, vocabulary=VOCABULARY, tokens=(1, 2, 3, 4, 6, 5, 4, 3))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()


def make(path, seed: int, text: Text = TEXT) -> list[np.ndarray]:
    chance = np.random.default_rng(seed)
    rows = [chance.normal(0, 3, text.vocabulary).astype(np.float32) for _ in text.scored()]
    write_probabilities(path, text, iter(rows))
    return rows


def test_the_second_half_of_each_window_is_scored_but_its_last_place():
    assert list(TEXT.scored()) == [(0, 2), (1, 2)]
    assert [TEXT.next_token(*place) for place in TEXT.scored()] == [4, 3]


def test_what_was_written_is_read_within_the_step(tmp_path):
    rows = make(tmp_path / "a", 1)
    with Reader(tmp_path / "a") as reader:
        assert reader.text == TEXT
        for logits, read in zip(rows, reader.rows(), strict=True):
            assert np.abs(log_softmax(logits) - read).max() < 16 / 65535 + 1e-5


def test_a_word_far_below_the_best_is_held_at_the_floor(tmp_path):
    logits = np.asarray([0, -40, -1, -2, -3, -4, -5], np.float32)
    write_probabilities(tmp_path / "a", TEXT, iter([logits, logits]))
    with Reader(tmp_path / "a") as reader:
        first = next(reader.rows())
    assert first[1] == pytest.approx(log_softmax(logits)[0] - 16, abs=1e-3)


def test_a_uniform_guess_is_the_size_of_the_vocabulary(tmp_path):
    flat = np.zeros(VOCABULARY, np.float32)
    write_probabilities(tmp_path / "flat", TEXT, iter([flat, flat]))
    make(tmp_path / "a", 1)
    assert compare(tmp_path / "a", tmp_path / "flat").perplexity_after == pytest.approx(7, rel=1e-4)


def test_figures_are_those_of_their_definitions(tmp_path):
    first = [log_softmax(r) for r in make(tmp_path / "a", 1)]
    second = [log_softmax(r) for r in make(tmp_path / "b", 2)]
    found = compare(tmp_path / "a", tmp_path / "b")
    actual = [TEXT.next_token(*place) for place in TEXT.scored()]
    divergences = [(np.exp(p) * (p - q)).sum() for p, q in zip(first, second, strict=True)]
    losses = [p[token] for p, token in zip(first, actual, strict=True)]
    same = [p.argmax() == q.argmax() for p, q in zip(first, second, strict=True)]
    assert found.positions == 2
    assert found.kl_divergence == pytest.approx(np.mean(divergences), rel=1e-3)
    assert found.perplexity_before == pytest.approx(math.exp(-np.mean(losses)), rel=1e-3)
    assert found.top_agreement == np.mean(same)


def test_a_model_does_not_differ_from_itself(tmp_path):
    make(tmp_path / "a", 3)
    found = compare(tmp_path / "a", tmp_path / "a")
    assert (found.top_agreement, found.kl_divergence) == (1.0, 0.0)
    assert found.perplexity_before == found.perplexity_after


def test_models_that_split_the_text_otherwise_are_not_compared(tmp_path):
    make(tmp_path / "a", 1)
    make(tmp_path / "b", 1, Text(window_tokens=4, vocabulary=7, tokens=(1, 2, 3, 4, 6, 5, 4, 2)))
    with pytest.raises(InvalidModel, match="different tokens"):
        compare(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("kept", [0, 7, 12, 19, 30, -1])
def test_a_file_that_ends_too_early_is_refused(tmp_path, kept):
    make(tmp_path / "a", 1)
    data = (tmp_path / "a").read_bytes()
    (tmp_path / "cut").write_bytes(data[:kept])
    with pytest.raises(InternalError), Reader(tmp_path / "cut") as reader:
        list(reader.rows())
