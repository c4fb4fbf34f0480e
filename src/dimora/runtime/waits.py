"""How long one who is refused should stay away. Pure: learned from how long things took.

Everyone who is refused is promised another departure from the queue, one after the other: a line
outside the door. What is promised to those in it is not given to one who comes later.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable

# Until a model has answered, an answer alone is taken to need this long; and until it was loaded,
# loading this long, and longer for all that has to be read from a slow disk.
_FIRST_ANSWER_SECONDS = 2.0
_FIRST_LOAD_SECONDS = 5.0
_DISK_BYTES_PER_SECOND = 200e6
# Weights of what was seen last, as in RFC 6298, which guesses round trips in the same way.
_NEW_MEAN = 1 / 8
_NEW_DEVIATION = 1 / 4
# Nobody is told to stay away for longer, however many come back too early.
_LONGEST_SECONDS = 3600
_MOST_PROMISES = 10_000
# One who was told when to come back is not expected any more after this.
_LATE_SECONDS = 5.0


class Habit:
    """How long one kind of thing takes, in seconds."""

    def __init__(self, first_guess: float) -> None:
        self._mean = first_guess
        self._deviation = 0.0
        self._seen = False

    def note(self, seconds: float) -> None:
        if not self._seen:
            self._seen, self._mean, self._deviation = True, seconds, seconds / 2
            return
        self._deviation += _NEW_DEVIATION * (abs(seconds - self._mean) - self._deviation)
        self._mean += _NEW_MEAN * (seconds - self._mean)

    @property
    def seconds(self) -> float:
        """What it rarely takes longer than."""
        return self._mean + self._deviation


class Habits:
    """What is known of one model, also while it is not in memory."""

    def __init__(self, size_bytes: int) -> None:
        self._answer = Habit(_FIRST_ANSWER_SECONDS)
        self.load = Habit(_FIRST_LOAD_SECONDS + size_bytes / _DISK_BYTES_PER_SECOND)

    def note_answer(self, seconds: float, together: float) -> None:
        """An answer, with how many others were written at the same time, itself counted."""
        self._answer.note(seconds / together)

    def answer_seconds(self, together: int) -> float:
        """Of one among several. Until it was seen, nothing is taken to be gained by batching."""
        return self._answer.seconds * together


def departures(
    now: float, ready_at: float, granted: Iterable[float], places: int, answer_seconds: float
) -> list[float]:
    """When each of a model's places is free next. `granted` are the times at which the answers of
    now began; one that takes longer than usual is taken to be half done."""
    ends = []
    for began in granted:
        age = now - began
        ends.append(began + answer_seconds if age < answer_seconds else now + age)
    free = [max(now, ready_at)] * max(0, places - len(ends))
    return sorted([*ends, *free])


def departure(number: int, ends: list[float], answer_seconds: float) -> float:
    """When the queue has surely been left `number` times from now: a round later than it looks."""
    rounds, place = divmod(number - 1, len(ends))
    return ends[place] + (rounds + 1) * answer_seconds


class Promises:
    """The line outside one model's full queue: when those who were refused are to come back."""

    def __init__(self) -> None:
        self._told: dict[str, list[float]] = {}

    def number(self, workspace: str, now: float) -> int:
        """How many of a workspace are still expected. Late ones are given up."""
        told = self._told.get(workspace, [])
        del told[: bisect_left(told, now - _LATE_SECONDS)]
        if not told:
            self._told.pop(workspace, None)
        return len(told)

    def is_due(self, workspace: str, now: float) -> bool:
        """Whether one who comes now may be one of them."""
        return self.number(workspace, now) > 0 and self._told[workspace][0] <= now

    def keep(self, workspace: str, now: float) -> None:
        """One has come, and was let in."""
        if self.is_due(workspace, now):
            del self._told[workspace][0]

    def make(self, workspace: str, at: float, now: float, room: int) -> int:
        """Gives whole seconds to wait, at least 1, and no more than `room` the same second."""
        told = self._told.setdefault(workspace, [])
        seconds = max(1, math.ceil(at - now))
        while seconds < _LONGEST_SECONDS and self._between(told, now + seconds) >= room:
            seconds += 1
        seconds = min(seconds, _LONGEST_SECONDS)
        if len(told) < _MOST_PROMISES:
            insort(told, now + seconds)
        return seconds

    @staticmethod
    def _between(told: list[float], end: float) -> int:
        """Those of the second that ends then."""
        return bisect_right(told, end) - bisect_right(told, end - 1)
