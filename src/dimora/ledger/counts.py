"""Counters and histograms by label, as plain numbers: no library, so that starting is quick."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict

Labels = tuple[str, ...]


class Counter:
    """Only grows. `labels` are the names of the label values each `add` brings."""

    def __init__(self, name: str, help_text: str, labels: Labels) -> None:
        self.name = name
        self.help = help_text
        self.labels = labels
        self.values: dict[Labels, float] = defaultdict(float)

    def add(self, values: Labels, amount: float = 1.0) -> None:
        self.values[values] += amount


class Histogram:
    """Counts observations by upper bound, as Prometheus does."""

    def __init__(
        self, name: str, help_text: str, labels: Labels, bounds: tuple[float, ...]
    ) -> None:
        self.name = name
        self.help = help_text
        self.labels = labels
        self.bounds = bounds
        self.counts: dict[Labels, list[int]] = {}
        self.sums: dict[Labels, float] = defaultdict(float)

    def observe(self, values: Labels, amount: float) -> None:
        row = self.counts.setdefault(values, [0] * (len(self.bounds) + 1))
        row[bisect_left(self.bounds, amount)] += 1
        self.sums[values] += amount

    def cumulative(self, values: Labels) -> list[tuple[str, float]]:
        """Pairs of upper bound and how many were at most that."""
        total = 0
        pairs = []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts[values], strict=True):
            total += count
            pairs.append((bound, float(total)))
        return pairs
