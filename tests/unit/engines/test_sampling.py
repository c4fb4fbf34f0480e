"""The choice of the next token."""

from __future__ import annotations

import math
from collections import Counter

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimora.engines._sampling import Sampler, log_probabilities
from dimora.tasks.options import Sampling

# Probabilities 0.5, 0.25, 0.125, 0.125 of the tokens 3, 1, 0, 2.
SCORES = numpy.log(numpy.array([0.125, 0.25, 0.125, 0.5], dtype=numpy.float32))
PLAIN = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": 1}


def chosen(scores=SCORES, seen=(), times=400, **options) -> Counter[int]:
    """How often each token was chosen, by fresh samplers with seeds of their own."""
    counts: Counter[int] = Counter()
    for seed in range(times):
        sampling = Sampling(**(PLAIN | {"repeat_last_n": 64} | options | {"seed": seed}))
        counts[Sampler(sampling, list(seen), 100).choose(scores)] += 1
    return counts


def test_without_temperature_the_likeliest_is_chosen():
    assert set(chosen(temperature=0.0, times=5)) == {3}


@pytest.mark.parametrize("temperature", [1e-9, 1e-40, 1e-300])
def test_next_to_no_temperature_is_as_good_as_none(temperature):
    assert set(chosen(scores=SCORES + 20, temperature=temperature, times=5)) == {3}


def test_with_temperature_each_is_chosen_as_often_as_it_is_likely():
    counts = chosen(times=2000)
    assert counts[3] / 2000 == pytest.approx(0.5, abs=0.05)
    assert counts[1] / 2000 == pytest.approx(0.25, abs=0.05)
    assert chosen(temperature=0.1)[3] > 390
    assert chosen(temperature=50.0)[0] > 60


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"top_k": 1}, {3}),
        ({"top_k": 2}, {3, 1}),
        ({"top_k": 100}, {0, 1, 2, 3}),
        ({"top_p": 0.4}, {3}),
        ({"top_p": 0.0}, {3}),
        ({"typical_p": 0.0}, {1}),
        ({"top_p": 0.7}, {3, 1}),
        ({"min_p": 0.4}, {3, 1}),
        ({"min_p": 2.0}, {3}),
        ({"typical_p": 0.2}, {1}),
        ({"logit_bias": {0: 100.0}}, {0}),
        ({"logit_bias": {3: -100.0, 1: -100.0, 99: 5.0, -1: 5.0}}, {0, 2}),
        ({"top_k": 2, "top_p": 0.5, "min_p": 0.0}, {3}),
    ],
)
def test_what_is_left_out_is_never_chosen(options, left):
    assert set(chosen(**options)) == left


def test_the_same_seed_chooses_the_same_and_others_do_not():
    def draw(seed: int) -> list[int]:
        sampler = Sampler(Sampling(**(PLAIN | {"seed": seed})), [], 100)
        return [sampler.choose(SCORES) for _ in range(20)]

    assert draw(7) == draw(7)
    assert draw(7) != draw(8)
    assert draw(-1) != draw(-1)


@pytest.mark.parametrize(
    "options",
    [{"repeat_penalty": 50.0}, {"presence_penalty": 5.0}, {"frequency_penalty": 3.0}],
)
def test_what_was_written_lately_is_avoided(options):
    seen = [3, 3]
    assert set(chosen(seen=seen, temperature=0.0, times=1, **options)) == {1}
    assert set(chosen(seen=[*seen, 0], temperature=0.0, times=1, repeat_last_n=1, **options)) == {3}
    assert set(chosen(seen=seen, temperature=0.0, times=1, repeat_last_n=0, **options)) == {3}
    assert set(chosen(seen=seen, temperature=0.0, times=1, repeat_last_n=-1, **options)) == {1}


def test_what_was_chosen_counts_as_written():
    sampler = Sampler(Sampling(temperature=0, presence_penalty=5.0), [], 100)
    assert [sampler.choose(SCORES) for _ in range(2)] == [3, 1]
    short = Sampler(Sampling(temperature=0, presence_penalty=5.0, repeat_last_n=1), [], 100)
    assert [short.choose(SCORES) for _ in range(4)] == [3, 1, 3, 1]


def test_the_scores_stay_as_they_are():
    before = SCORES.copy()
    chosen(times=1, logit_bias={0: 5.0}, presence_penalty=1.0, seen=[3])
    assert (before == SCORES).all()


def test_half_precision_scores_are_taken():
    assert set(chosen(SCORES.astype(numpy.float16), top_k=2, times=20)) == {1, 3}


def test_log_probabilities_are_those_of_the_model():
    logprob, top = log_probabilities(SCORES * 1 + 5, 1, 2)
    assert logprob == pytest.approx(math.log(0.25), abs=1e-4)
    assert [(t.id, round(math.exp(t.logprob), 3)) for t in top] == [(3, 0.5), (1, 0.25)]
    assert log_probabilities(SCORES, 3, 0)[1] == ()


@given(st.lists(st.integers(-30, 30), min_size=2, max_size=40), st.integers(1, 40))
def test_alternatives_are_in_order_and_of_equal_ones_the_first_comes_first(scores, count):
    _, top = log_probabilities(numpy.array(scores, dtype=numpy.float32), 0, count)
    in_order = sorted(range(len(scores)), key=lambda id_: (-scores[id_], id_))
    assert [t.id for t in top] == in_order[:count]


def test_what_a_grammar_has_ruled_out_is_no_alternative():
    scores = SCORES.copy()
    scores[[0, 3]] = -numpy.inf
    logprob, top = log_probabilities(scores, 2, 4)
    assert [t.id for t in top] == [1, 2]
    assert logprob == pytest.approx(math.log(1 / 3), abs=1e-4)
