"""A fair queue for one model. Pure: time comes from outside.

Between workspaces the one that holds the fewest places comes first, and among equals they take
turns. Interactive goes before batch; of each workspace one batch request in a while goes with the
interactive ones, so that none is starved and a heap of them holds up nobody. Within one workspace
and class the order is that of arrival.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator

import msgspec

# A batch request that is the next of its workspace for this long goes with the interactive ones.
AGEING_SECONDS = 30.0


class Waiting(msgspec.Struct, frozen=True):
    ticket: int
    workspace: str
    batch: bool
    arrived: float


class FairQueue:
    """Tickets in the order they will be served, and the places their workspaces hold.

    `pop` takes a place, `release` gives it back. `weights` gives a workspace more than 1 turn and
    place for those of others.
    """

    def __init__(self, weights: dict[str, float] | None = None) -> None:
        self._weights = weights or {}
        self._lines: dict[tuple[str, bool], deque[Waiting]] = {}
        self._held: Counter[str] = Counter()
        self._served: dict[str, float] = {}
        self._clock = 0.0
        self._batch_at: dict[str, float] = {}

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    def __iter__(self) -> Iterator[Waiting]:
        return (w for line in self._lines.values() for w in line)

    def count(self, workspace: str) -> int:
        """How many of one workspace wait."""
        return sum(len(self._lines.get((workspace, batch), ())) for batch in (False, True))

    def workspaces(self) -> set[str]:
        """Those of which somebody waits."""
        return {workspace for workspace, _ in self._lines}

    def push(self, waiting: Waiting) -> None:
        if not self.count(waiting.workspace):
            # One who was away does not save up turns.
            had = self._served.get(waiting.workspace, 0.0)
            self._served[waiting.workspace] = max(had, self._clock)
        self._lines.setdefault((waiting.workspace, waiting.batch), deque()).append(waiting)

    def remove(self, ticket: int) -> bool:
        """Take out one who will not wait any longer."""
        for key, line in self._lines.items():
            for waiting in line:
                if waiting.ticket == ticket:
                    line.remove(waiting)
                    self._forget(key)
                    return True
        return False

    def peek(self, now: float, may: Callable[[Waiting], bool] | None = None) -> Waiting | None:
        """The next to be served; with `may` the next of those that it lets through."""
        heads = [line[0] for line in self._lines.values()]
        if may is not None:
            heads = [w for w in heads if may(w)]
        urgent = [w for w in heads if not w.batch or self._is_aged(w, now)]
        return min(urgent or heads, key=self._turn, default=None)

    def pop(self, now: float) -> Waiting | None:
        """The next, who is given a place."""
        chosen = self.peek(now)
        if chosen is not None:
            self.take(chosen, now)
        return chosen

    def take(self, chosen: Waiting, now: float) -> None:
        """Give a place to one whom `peek` told."""
        workspace = chosen.workspace
        self._lines[workspace, chosen.batch].popleft()
        self._held[workspace] += 1
        self._clock = max(self._clock, self._served[workspace])
        self._served[workspace] += 1.0 / self._weights.get(workspace, 1.0)
        if chosen.batch:
            self._batch_at[workspace] = now
        self._forget((workspace, chosen.batch))

    def release(self, workspace: str) -> None:
        """A place is given back."""
        self._held[workspace] -= 1
        if self._held[workspace] <= 0:
            del self._held[workspace]

    def release_all(self) -> None:
        self._held.clear()

    def places(self, now: float) -> dict[int, int]:
        """The place of every ticket, 1 for the next to be served."""
        rehearsal = FairQueue(self._weights)
        rehearsal._lines = {key: deque(line) for key, line in self._lines.items()}
        rehearsal._held = self._held.copy()
        rehearsal._served = dict(self._served)
        rehearsal._clock = self._clock
        rehearsal._batch_at = dict(self._batch_at)
        places: dict[int, int] = {}
        while (chosen := rehearsal.pop(now)) is not None:
            places[chosen.ticket] = len(places) + 1
        return places

    def _turn(self, waiting: Waiting) -> tuple[float, float, float, int]:
        workspace = waiting.workspace
        held = self._held[workspace] / self._weights.get(workspace, 1.0)
        return held, self._served[workspace], waiting.arrived, waiting.ticket

    def _is_aged(self, waiting: Waiting, now: float) -> bool:
        since = max(waiting.arrived, self._batch_at.get(waiting.workspace, waiting.arrived))
        return since + AGEING_SECONDS <= now

    def _forget(self, key: tuple[str, bool]) -> None:
        """Nothing is remembered of those who do not wait and have had no more than those who do."""
        if not self._lines[key]:
            del self._lines[key]
        waiting = self.workspaces()
        if key[0] not in waiting:
            self._batch_at.pop(key[0], None)
        self._served = {
            w: s for w, s in self._served.items() if w in waiting or (waiting and s > self._clock)
        }
