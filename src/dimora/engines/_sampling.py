"""Chooses the next token from the scores a model gives to all: for engines that leave it to us.

The steps and their order are those of llama.cpp, so that an option means the same everywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dimora.tasks.base import TopToken
from dimora.tasks.options import Sampling

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

# Within this of the highest score there are usually more than are asked for.
_NEAR = 12.0


class Sampler:
    """The choices of one answer. `seen` are the tokens before it."""

    def __init__(self, sampling: Sampling, seen: Sequence[int], context_tokens: int) -> None:
        import numpy

        self._sampling = sampling
        last = sampling.repeat_last_n if sampling.repeat_last_n >= 0 else context_tokens
        self._window = last
        self._seen = list(seen[-last:]) if last else []
        penalties = (sampling.repeat_penalty, sampling.presence_penalty, sampling.frequency_penalty)
        self._punishes = penalties != (1.0, 0.0, 0.0)
        self._random = numpy.random.default_rng(sampling.seed if sampling.seed >= 0 else None)

    def choose(self, scores: NDArray[numpy.float32]) -> int:
        """The id of one token; `scores` has one number for each token and is not changed."""
        import numpy

        if self._punishes or self._sampling.logit_bias:
            scores = self._changed(numpy.array(scores, dtype=numpy.float32))
        if self._sampling.temperature <= 0:
            chosen = int(scores.argmax())
        else:
            ids = self._candidates(scores)
            odds = _softmax(scores[ids], self._sampling.temperature)
            chosen = int(self._random.choice(ids, p=odds))
        self.note(chosen)
        return chosen

    def note(self, token: int) -> None:
        """It comes next: it was chosen here, or nothing else could come."""
        if self._punishes and self._window:
            self._seen = [*self._seen[1 - self._window :], token] if self._window > 1 else [token]

    def _changed(self, scores: NDArray[numpy.float32]) -> NDArray[numpy.float32]:
        sampling = self._sampling
        for id_, bias in sampling.logit_bias.items():
            if 0 <= id_ < len(scores):
                scores[id_] += bias
        if self._punishes:
            self._punish(scores)
        return scores

    def _punish(self, scores: NDArray[numpy.float32]) -> None:
        """What was seen before is less likely."""
        sampling = self._sampling
        for id_, count in Counter(self._seen).items():
            if 0 <= id_ < len(scores):
                factor = sampling.repeat_penalty
                scores[id_] *= factor if scores[id_] <= 0 else 1 / factor
                scores[id_] -= count * sampling.frequency_penalty + sampling.presence_penalty

    def _candidates(self, scores: NDArray[numpy.float32]) -> NDArray[numpy.int64]:
        """Ids that may be chosen, the likeliest first."""
        import numpy

        sampling = self._sampling
        count = min(sampling.top_k, len(scores)) if sampling.top_k > 0 else len(scores)
        ids = _likeliest(scores, count)
        if sampling.typical_p < 1:
            odds = _softmax(scores[ids])
            surprise = -numpy.log(odds + 1e-30)
            order = numpy.argsort(abs(surprise - (odds * surprise).sum()), kind="stable")
            ids = ids[numpy.sort(order[: _enough(odds[order], sampling.typical_p)])]
        if sampling.top_p < 1:
            ids = ids[: _enough(_softmax(scores[ids]), sampling.top_p)]
        if sampling.min_p > 0:
            odds = _softmax(scores[ids])
            ids = ids[odds >= min(sampling.min_p, 1.0) * odds[0]]
        return ids


def log_probabilities(
    scores: NDArray[numpy.float32], chosen: int, alternatives: int
) -> tuple[float, tuple[TopToken, ...]]:
    """The logarithm of a token's probability, and the likeliest tokens with theirs and no text;
    none that a grammar has ruled out."""
    import numpy

    scores = scores.astype(numpy.float64)
    logs = scores - (scores.max() + numpy.log(numpy.exp(scores - scores.max()).sum()))
    top = tuple(
        TopToken(int(id_), "", min(0.0, float(logs[id_])))
        for id_ in _likeliest(scores, alternatives)
        if numpy.isfinite(logs[id_])
    )
    return min(0.0, float(logs[chosen])), top


def _likeliest(scores: NDArray[numpy.floating[Any]], count: int) -> NDArray[numpy.int64]:
    """Ids of so many scores, the highest first, of equal ones the first."""
    import numpy

    if not count:
        return numpy.empty(0, numpy.int64)
    # Most words are far from likely, and to sort them all takes as long as some layers.
    ids = numpy.flatnonzero(scores > scores.max() - _NEAR)
    if len(ids) < count:
        ids = numpy.arange(len(scores))
    if len(ids) > count:
        least = numpy.partition(scores[ids], -count)[-count]
        ids = ids[scores[ids] >= least]
    return ids[numpy.argsort(-scores[ids], kind="stable")][:count]


def _enough(odds: NDArray[numpy.float64], share: float) -> int:
    """How many of these, in their order, make up the share: one at least."""
    import numpy

    return int(numpy.searchsorted(odds.cumsum(), share)) + 1


def _softmax(scores: NDArray[numpy.float32], temperature: float = 1.0) -> NDArray[numpy.float64]:
    import numpy

    # Divided last: the nearer the temperature to nothing, the surer the likeliest.
    below: NDArray[numpy.float64] = scores.astype(numpy.float64) - scores.max()
    odds: NDArray[numpy.float64] = numpy.exp(below / temperature)
    odds /= odds.sum()
    return odds
