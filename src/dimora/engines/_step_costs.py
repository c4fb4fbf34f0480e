"""How long steps of a decoder take on this machine, learned while it works.

How many tokens a step takes for little more than one differs tenfold between processors: where
bytes are multiplied in one instruction sixteen cost hardly more, elsewhere four times as much.
"""

from __future__ import annotations

# A step reads at most so many tokens, and fewer where so many would take longer than about this:
# nobody who leaves, or writes beside it, should wait for a step.
_STEP_TOKENS = 256
LEAST_TOKENS = 32
_STEP_SECONDS = 0.75
# Prompts get so much of it, however many answers are written beside them.
_LEAST_READING_SECONDS = 0.5
# What is newest counts for so much: texts grow longer, and machines get busy.
_NEWEST = 0.25
# Rows of one token that are written together; above that steps are not compared.
_MOST_ROWS = 64


class Pace:
    """How many tokens of prompts are read in a step: a whole number of `tile` tokens, in which
    kernels leave no rest, or half of one."""

    def __init__(self, tile: int) -> None:
        self._tile = tile
        self._tokens_per_second = 0.0
        self._has_begun = False

    def tokens(self, other_seconds: float = 0.0) -> int:
        """Of a step that has other work for so long."""
        if not self._tokens_per_second:
            return _STEP_TOKENS // 2
        seconds = max(_STEP_SECONDS - other_seconds, _LEAST_READING_SECONDS)
        most = min(self._tokens_per_second * seconds, _STEP_TOKENS)
        return round(most / self._tile) * self._tile or self._tile // 2

    def note(self, tokens: int, seconds: float, other_seconds: float = 0.0) -> None:
        """A step that took so long, of which other work may have taken about the last."""
        if tokens < LEAST_TOKENS:
            return
        if not self._has_begun:
            # Matrices are packed when they are first used, which takes longer than to read.
            self._has_begun = True
        else:
            # What other work takes is a guess: it may not make reading seem endlessly fast.
            reading = max(seconds - min(other_seconds, seconds / 2), 1e-6)
            self._tokens_per_second = _newer(self._tokens_per_second, tokens / reading)


class StepCosts:
    """How long steps take that only write, by how many rows they have; and how much longer one
    takes that has other rows than the step before it, since the graph is laid out anew then."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}
        self._seen: set[int] = set()
        self._change_seconds = 0.0
        self._last_rows = 0

    def note(self, rows: int, seconds: float) -> None:
        """A step that only wrote; rows 0 for any other."""
        changed, self._last_rows = rows != self._last_rows, rows
        if not 0 < rows <= _MOST_ROWS:
            return
        if rows not in self._seen:
            # The first time kernels are made for so many rows, and never again.
            self._seen.add(rows)
        elif not changed:
            self._seconds[rows] = _newer(self._seconds.get(rows, 0.0), seconds)
        elif rows in self._seconds:
            more = max(0.0, seconds - self._seconds[rows])
            self._change_seconds = _newer(self._change_seconds, more)
        else:
            self._seconds[rows] = max(seconds - self._change_seconds, self.seconds(rows), 1e-6)

    def seconds(self, rows: int) -> float:
        """Between what was seen by proportion; beyond it as the nearest that was, so that what is
        not known yet is tried. Never less than for fewer rows."""
        below = [n for n in self._seconds if n <= rows]
        above = [n for n in self._seconds if n > rows]
        if not below:
            return self._seconds[min(above)] if above else 0.0
        low = max(below, key=lambda n: self._seconds[n])
        if not above:
            return self._seconds[low]
        high = min(above)
        share = (rows - low) / (high - low)
        rise = max(0.0, self._seconds[high] - self._seconds[low])
        return self._seconds[low] + share * rise

    def best_guess(self, trust: float, rows: int, tokens: float, most: int) -> int:
        """How many tokens to guess, `most` or fewer, beside `rows` that bring `tokens` in any case:
        so that most tokens come in a second. A guess is right with the probability `trust`, as long
        as those before it are."""
        best, best_speed = 0, tokens / self._expected_seconds(rows, 0.0)
        brought, chance = tokens, 1.0
        for count in range(1, most + 1):
            chance *= trust
            brought += chance
            # Where all is right as many are guessed again; else the step after it is a change.
            speed = brought / self._expected_seconds(rows + count, 1 - chance)
            if speed > best_speed:
                best, best_speed = count, speed
        return best

    def _expected_seconds(self, rows: int, changes_after: float) -> float:
        changes = changes_after + (rows != self._last_rows)
        return max(self.seconds(rows) + changes * self._change_seconds, 1e-6)


def _newer(known: float, seen: float) -> float:
    return known + (seen - known) * _NEWEST if known else seen
