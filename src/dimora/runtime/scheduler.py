"""Decides who runs when, and which models are in memory. Pure: events in, effects out.

It has no clock, no locks and no processes. Every method is an event, takes the time and returns
the effects for somebody else to carry out; `alarm` says when it wants to hear `tick`.

A *seat* is a model's place in memory: empty, loading, ready or stopping. Requests wait in the
fair queue of their seat; a ready seat grants as many as its model writes at a time. A request
that needs other load options closes the seat: no more grants, then stop, then load anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from dimora.core.errors import DimoraError, Overloaded, StorageFull, TooManyRequests
from dimora.runtime.eviction import Idle, choose_victim
from dimora.runtime.queueing import FairQueue, Waiting
from dimora.tasks.options import LoadOptions

# A model that waited this long for room makes a busy one stop taking requests.
PATIENCE_SECONDS = 30.0
# Until a model has answered something, an answer is taken to last this long.
_FIRST_GUESS_SECONDS = 5.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How a model would be loaded. `insisted` names the options the caller set on purpose."""

    engine: str
    reason: str
    options: LoadOptions
    insisted: frozenset[str] = frozenset()
    estimate_bytes: int = 0

    def serves(self, other: Plan) -> bool:
        """Whether a model loaded by this plan is good for a request that came with `other`."""
        for name in other.insisted:
            if name == "engine":
                if self.engine != other.engine:
                    return False
            elif name == "num_ctx":
                if self.options.num_ctx < other.options.num_ctx:
                    return False
            elif getattr(self.options, name) != getattr(other.options, name):
                return False
        return True


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """One request for a seat. `keep_alive_seconds` is None to leave what holds now."""

    ticket: int
    seat: str
    plan: Plan
    workspace: str
    batch: bool = False
    keep_alive_seconds: float | None = None


class Load(msgspec.Struct, frozen=True):
    seat: str
    plan: Plan


class Stop(msgspec.Struct, frozen=True):
    seat: str


class Grant(msgspec.Struct, frozen=True):
    ticket: int
    seat: str


class Refuse(msgspec.Struct, frozen=True):
    ticket: int
    error: DimoraError


Effect = Load | Stop | Grant | Refuse


class Seat:
    """A model's place in memory."""

    def __init__(self, name: str, keep_alive_seconds: float) -> None:
        self.name = name
        self.state: Literal["empty", "loading", "ready", "stopping"] = "empty"
        self.plan: Plan | None = None
        self.queue = FairQueue()
        self.active: dict[int, float] = {}
        self.closing = False
        self.keep_alive_seconds = keep_alive_seconds
        self.last_used = 0.0
        self.memory_bytes = 0
        self.answer_seconds = _FIRST_GUESS_SECONDS

    @property
    def in_memory(self) -> bool:
        return self.state != "empty"

    @property
    def is_idle(self) -> bool:
        return self.state == "ready" and not self.active and not len(self.queue)

    @property
    def expires_at(self) -> float:
        return self.last_used + self.keep_alive_seconds

    @property
    def parallel(self) -> int:
        return self.plan.options.parallel if self.plan else 1


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """0 means no limit, except for `memory_bytes` which is asked for at every load."""

    max_queue: int
    max_queue_per_workspace: int
    max_loaded: int
    keep_alive_seconds: float


class Scheduler:
    """`memory_limit` tells how much all models may take now, given what they take already."""

    def __init__(self, limits: Limits, memory_limit: Callable[[int], int]) -> None:
        self.seats: dict[str, Seat] = {}
        self._limits = limits
        self._memory_limit = memory_limit
        self._demands: dict[int, Demand] = {}

    # Events.

    def arrive(self, demand: Demand, now: float) -> list[Effect]:
        """A request wants a seat."""
        seat = self._seat(demand.seat)
        if refusal := self._refusal(seat, demand):
            return [Refuse(demand.ticket, refusal)]
        self._demands[demand.ticket] = demand
        seat.queue.push(Waiting(demand.ticket, demand.workspace, demand.batch, now))
        return self._settle(now)

    def depart(self, ticket: int, now: float) -> list[Effect]:
        """A request is answered, failed, or its caller left; it may never have been granted."""
        demand = self._demands.pop(ticket, None)
        if demand is None:
            return []
        seat = self.seats[demand.seat]
        if ticket in seat.active:
            took = now - seat.active.pop(ticket)
            seat.answer_seconds += 0.2 * (took - seat.answer_seconds)
            seat.last_used = now
            if demand.keep_alive_seconds is not None:
                seat.keep_alive_seconds = demand.keep_alive_seconds
        else:
            seat.queue.remove(ticket)
        return self._settle(now)

    def loaded(self, name: str, memory_bytes: int, now: float) -> list[Effect]:
        seat = self.seats[name]
        seat.state = "ready"
        seat.memory_bytes = memory_bytes
        seat.last_used = now
        return self._settle(now)

    def load_failed(self, name: str, error: DimoraError, now: float) -> list[Effect]:
        """Everyone who waits for this model hears why."""
        seat = self.seats[name]
        self._empty(seat)
        return [*self._refuse_all(seat, error), *self._settle(now)]

    def stopped(self, name: str, now: float) -> list[Effect]:
        """A worker has ended, on purpose or by itself; those who wait get a new one."""
        seat = self.seats[name]
        self._empty(seat)
        return self._settle(now)

    def unload(self, name: str, now: float) -> list[Effect]:
        """Stop a model once what it writes now is written."""
        seat = self.seats.get(name)
        if seat is not None and seat.state in ("ready", "loading"):
            seat.closing = True
        return self._settle(now)

    def measured(self, name: str, memory_bytes: int) -> None:
        seat = self.seats.get(name)
        if seat is not None and seat.state == "ready":
            seat.memory_bytes = memory_bytes

    def tick(self, now: float) -> list[Effect]:
        return self._settle(now)

    # Questions.

    def alarm(self, now: float) -> float | None:
        """When something will be due with no event before it; None for never."""
        due = [s.expires_at for s in self.seats.values() if s.is_idle]
        for seat in self.seats.values():
            if seat.state == "empty" and (head := seat.queue.peek(now)):
                due.append(head.arrived + PATIENCE_SECONDS)
        later = [at for at in due if at > now]
        return min(later, default=None)

    def place(self, ticket: int, now: float) -> int:
        """1 for the next of its queue, 0 when the ticket does not wait."""
        demand = self._demands.get(ticket)
        return self.seats[demand.seat].queue.place(ticket, now) if demand else 0

    def crowded_by(self, estimate_bytes: int) -> list[str]:
        """The seats of which one would have to leave memory before so much could be loaded; none
        when there is room, and none when there would not be with all of them gone."""
        others = [s for s in self.seats.values() if s.in_memory]
        missing, too_many, limit = self._missing(others, estimate_bytes)
        crowded = (missing > 0 or too_many) and estimate_bytes <= limit
        return [s.name for s in others] if crowded else []

    def requests(self) -> int:
        """How many are answered or wait."""
        return sum(len(s.active) + len(s.queue) for s in self.seats.values())

    # Decisions.

    def _refusal(self, seat: Seat, demand: Demand) -> DimoraError | None:
        wait = max(1, round(seat.answer_seconds * (len(seat.queue) + 1) / seat.parallel))
        waiting = len(seat.queue)
        free = seat.state != "ready" or len(seat.active) >= seat.parallel
        if self._limits.max_queue and waiting >= self._limits.max_queue and free:
            return Overloaded(
                "server busy, please try again.  maximum pending requests exceeded",
                hint=f"{waiting} requests wait for this model; try again in {wait} s",
                retry_after_seconds=wait,
            )
        own = seat.queue.count(demand.workspace)
        if 0 < self._limits.max_queue_per_workspace <= own:
            return TooManyRequests(
                f"{own} requests of this workspace already wait for this model",
                hint=f"try again in {wait} s",
                retry_after_seconds=wait,
            )
        return None

    def _settle(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for seat in list(self.seats.values()):
            if seat.state == "ready":
                effects += self._serve(seat, now)
        for seat in sorted(self.seats.values(), key=lambda s: self._head_arrived(s, now)):
            if seat.state == "empty" and len(seat.queue):
                effects += self._make_room(seat, now)
        self._forget_empty()
        return effects

    def _serve(self, seat: Seat, now: float) -> list[Effect]:
        """Grant what the seat has room for, and stop it when it is closing or expired."""
        effects: list[Effect] = []
        while not seat.closing and len(seat.active) < seat.parallel:
            head = seat.queue.peek(now)
            if head is None:
                break
            if seat.plan is None or not seat.plan.serves(self._demands[head.ticket].plan):
                seat.closing = True
                break
            seat.queue.pop(now)
            seat.active[head.ticket] = now
            effects.append(Grant(head.ticket, seat.name))
        expired = seat.is_idle and seat.expires_at <= now
        if not seat.active and (seat.closing or expired):
            effects.append(self._stop(seat))
        return effects

    def _make_room(self, seat: Seat, now: float) -> list[Effect]:
        """Load the seat if it fits, else free memory for it, else let it wait."""
        head = seat.queue.peek(now)
        if head is None:
            return []
        plan = self._demands[head.ticket].plan
        others = [s for s in self.seats.values() if s.in_memory]
        missing, too_many, limit = self._missing(others, plan.estimate_bytes)
        if missing <= 0 and not too_many:
            seat.state, seat.plan, seat.closing = "loading", plan, False
            seat.memory_bytes = plan.estimate_bytes
            return [Load(seat.name, plan)]
        if plan.estimate_bytes > limit:
            return self._refuse_all(seat, _too_large(plan.estimate_bytes, limit))
        if any(s.state == "stopping" for s in others):
            return []
        idle = [
            Idle(
                seat=s.name,
                keep_alive_seconds=s.keep_alive_seconds,
                last_used=s.last_used,
                memory_bytes=s.memory_bytes,
            )
            for s in others
            if s.is_idle
        ]
        if victim := choose_victim(idle, missing):
            return [self._stop(self.seats[victim])]
        if head.arrived + PATIENCE_SECONDS <= now and not any(s.closing for s in others):
            ready = [s for s in others if s.state == "ready"]
            if ready:
                min(ready, key=lambda s: s.last_used).closing = True
        return []

    def _missing(self, loaded: list[Seat], estimate_bytes: int) -> tuple[int, bool, int]:
        """The bytes that are missing for one more beside these, whether there are too many models,
        and the bytes that all may take."""
        used = sum(s.memory_bytes for s in loaded)
        limit = self._memory_limit(used)
        too_many = 0 < self._limits.max_loaded <= len(loaded)
        return used + estimate_bytes - limit, too_many, limit

    def _refuse_all(self, seat: Seat, error: DimoraError) -> list[Effect]:
        tickets = [w.ticket for w in seat.queue]
        for ticket in tickets:
            seat.queue.remove(ticket)
            self._demands.pop(ticket, None)
        return [Refuse(ticket, error) for ticket in tickets]

    def _stop(self, seat: Seat) -> Stop:
        seat.state = "stopping"
        return Stop(seat.name)

    def _empty(self, seat: Seat) -> None:
        seat.state, seat.plan, seat.closing, seat.memory_bytes = "empty", None, False, 0
        for ticket in list(seat.active):
            # Their loans fail by themselves; when they depart there is nothing left to give back.
            self._demands.pop(ticket, None)
        seat.active.clear()

    def _head_arrived(self, seat: Seat, now: float) -> float:
        head = seat.queue.peek(now)
        return head.arrived if head else now

    def _seat(self, name: str) -> Seat:
        return self.seats.setdefault(name, Seat(name, self._limits.keep_alive_seconds))

    def _forget_empty(self) -> None:
        for name in [n for n, s in self.seats.items() if not s.in_memory and not len(s.queue)]:
            del self.seats[name]


def _too_large(needed: int, limit: int) -> StorageFull:
    return StorageFull(
        f"the model needs about {needed / 2**30:.1f} GiB of memory, and {limit / 2**30:.1f} GiB"
        " may be used",
        hint="choose a smaller model, a smaller num_ctx or num_parallel, or raise memory_limit",
        code="not_enough_memory",
    )
