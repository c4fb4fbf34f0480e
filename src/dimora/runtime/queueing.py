"""A fair queue for one model. Pure: time comes from outside.

Workspaces take turns by what they were given so far (weighted fair queueing); within a workspace,
and between classes, interactive goes before batch, until a batch request has waited long enough.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec

# A batch request that waited this long goes with the interactive ones, so that it is never starved.
AGEING_SECONDS = 30.0


class Waiting(msgspec.Struct, frozen=True):
    ticket: int
    workspace: str
    batch: bool
    arrived: float


class FairQueue:
    """Tickets in the order they will be served. `weights` gives a workspace more than 1 turn."""

    def __init__(self, weights: dict[str, float] | None = None) -> None:
        self._weights = weights or {}
        self._lines: dict[tuple[str, bool], deque[Waiting]] = {}
        self._served: dict[str, float] = {}
        self._clock = 0.0

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    def __iter__(self) -> Iterator[Waiting]:
        return (w for line in self._lines.values() for w in line)

    def count(self, workspace: str) -> int:
        """How many of one workspace wait."""
        return sum(len(line) for (name, _), line in self._lines.items() if name == workspace)

    def push(self, waiting: Waiting) -> None:
        if not self.count(waiting.workspace):
            # One who was away does not save up turns.
            self._served[waiting.workspace] = max(
                self._served.get(waiting.workspace, 0.0), self._clock
            )
        self._lines.setdefault((waiting.workspace, waiting.batch), deque()).append(waiting)

    def remove(self, ticket: int) -> bool:
        """Take out one who will not wait any longer."""
        for key, line in self._lines.items():
            for waiting in line:
                if waiting.ticket == ticket:
                    line.remove(waiting)
                    self._drop_empty(key)
                    return True
        return False

    def peek(self, now: float) -> Waiting | None:
        """The next to be served."""
        heads = [line[0] for line in self._lines.values()]
        urgent = [w for w in heads if not w.batch or w.arrived + AGEING_SECONDS <= now]
        return min(
            urgent or heads,
            key=lambda w: (self._served[w.workspace], w.arrived, w.ticket),
            default=None,
        )

    def pop(self, now: float) -> Waiting | None:
        chosen = self.peek(now)
        if chosen is None:
            return None
        self._lines[chosen.workspace, chosen.batch].popleft()
        self._clock = self._served[chosen.workspace]
        self._served[chosen.workspace] += 1.0 / self._weights.get(chosen.workspace, 1.0)
        self._drop_empty((chosen.workspace, chosen.batch))
        return chosen

    def place(self, ticket: int, now: float) -> int:
        """1 for the next to be served; 0 when the ticket does not wait here."""
        rehearsal = FairQueue(self._weights)
        rehearsal._lines = {key: deque(line) for key, line in self._lines.items()}
        rehearsal._served = dict(self._served)
        rehearsal._clock = self._clock
        for place in range(1, len(self) + 1):
            chosen = rehearsal.pop(now)
            if chosen is not None and chosen.ticket == ticket:
                return place
        return 0

    def _drop_empty(self, key: tuple[str, bool]) -> None:
        if not self._lines[key]:
            del self._lines[key]
        if not self.count(key[0]) and self._served[key[0]] <= self._clock:
            # Nothing to remember of one who has not had more than the others.
            del self._served[key[0]]
