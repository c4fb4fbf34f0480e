"""Decides who runs when, and which models are in memory. Pure: events in, effects out.

It has no clock, no locks and no processes. Every method is an event, takes the time and returns
the effects for somebody else to carry out; `alarm` says when it wants to hear `tick`.

A *seat* is a model's place in memory: empty, loading, ready or stopping. Requests wait in the
fair queue of their seat for one of its places. A request that needs other load options closes the
seat: no more grants, then stop, then load anew.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from dimora.core.errors import DimoraError, Overloaded, StorageFull, TooManyRequests
from dimora.runtime.eviction import Idle, choose_victim
from dimora.runtime.queueing import Waiting
from dimora.runtime.seats import Active, Plan, Seat
from dimora.runtime.waits import Habits, departure, departures

# A model that waited this long for room makes a busy one stop taking requests; so does a request
# that needs other load options than the others who wait.
PATIENCE_SECONDS = 30.0
# Models of which is remembered how long they take.
_HABITS = 256


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


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """0 means no limit. How much memory models may take is asked for at every load."""

    max_queue: int
    max_queue_per_workspace: int
    max_loaded: int
    keep_alive_seconds: float


class Scheduler:
    """`memory_limit` tells how much all models may take now, given what would be free without
    them."""

    def __init__(self, limits: Limits, memory_limit: Callable[[int], int]) -> None:
        self.seats: dict[str, Seat] = {}
        self._limits = limits
        self._memory_limit = memory_limit
        self._demands: dict[int, Demand] = {}
        self._habits: dict[str, Habits] = {}

    # Events.

    def arrive(self, demand: Demand, now: float) -> list[Effect]:
        """A request wants a seat."""
        seat = self._seat(demand.seat, demand.plan.estimate_bytes)
        if not demand.batch:
            seat.note_visit(demand.workspace, now)
        if refusal := self._refusal(seat, demand, now):
            return [Refuse(demand.ticket, refusal)]
        seat.promises.keep(demand.workspace, now)
        self._demands[demand.ticket] = demand
        seat.queue.push(Waiting(demand.ticket, demand.workspace, demand.batch, now))
        return self._settle(now)

    def began(self, ticket: int, now: float) -> list[Effect]:
        """The first of an answer is there: its prompt is read."""
        demand = self._demands.get(ticket)
        active = self.seats[demand.seat].active.get(ticket) if demand else None
        if active is None or not active.reading:
            return []
        active.reading = False
        return self._settle(now)

    def depart(self, ticket: int, now: float) -> list[Effect]:
        """A request is answered, failed, or its caller left; it may never have been granted."""
        demand = self._demands.pop(ticket, None)
        if demand is None:
            return []
        seat = self.seats[demand.seat]
        if ticket in seat.active:
            together = len(seat.active)
            active = seat.active.pop(ticket)
            # Who only looked, or left before anything came, tells nothing of an answer.
            if not active.reading:
                seat.habits.note_answer(now - active.granted, (active.together + together) / 2)
            seat.queue.release(demand.workspace)
            seat.last_used = now
            if not demand.batch:
                seat.note_end(demand.workspace, now)
            self._keep_alive(seat, demand)
        else:
            seat.queue.remove(ticket)
            # Nobody is left for whom it is loaded: it stays as long as the last of them wished.
            if seat.state == "loading" and not len(seat.queue):
                self._keep_alive(seat, demand)
        return self._settle(now)

    def loaded(
        self, name: str, memory_bytes: int, now: float, own_bytes: int | None = None
    ) -> list[Effect]:
        """`own_bytes` of the memory would be free without it; all of it when not told."""
        seat = self.seats[name]
        seat.habits.load.note(now - seat.loading_since)
        seat.state = "ready"
        self.measured(name, memory_bytes, own_bytes)
        seat.loaded_at = seat.last_used = now
        return self._settle(now)

    def load_failed(self, name: str, error: DimoraError, now: float) -> list[Effect]:
        """Everyone who waits for this model, loaded in this way, hears why."""
        seat = self.seats[name]
        failed = seat.plan
        self._empty(seat)
        return [*self._refuse(seat, error, lambda plan: _alike(plan, failed)), *self._settle(now)]

    def stopped(self, name: str, now: float) -> list[Effect]:
        """A worker has ended, on purpose or by itself; those who wait get a new one."""
        seat = self.seats[name]
        self._empty(seat)
        return self._settle(now)

    def unload(self, name: str, now: float) -> list[Effect]:
        """Stop a model once what it writes now is written."""
        seat = self.seats.get(name)
        if seat is not None and seat.state == "ready":
            seat.closing = True
        elif seat is not None and seat.state == "loading":
            # Those who wait for it would have it loaded twice.
            seat.keep_alive_seconds = 0.0
        return self._settle(now)

    def measured(self, name: str, memory_bytes: int, own_bytes: int | None = None) -> None:
        seat = self.seats.get(name)
        if seat is not None and seat.state == "ready":
            seat.memory_bytes = memory_bytes
            seat.own_bytes = memory_bytes if own_bytes is None else own_bytes

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

    def places(self, name: str, now: float) -> dict[int, int]:
        """Of everyone who waits for this model, by ticket; 1 for the next."""
        seat = self.seats.get(name)
        return seat.queue.places(now) if seat else {}

    def crowded_by(self, estimate_bytes: int) -> list[str]:
        """The seats of which one would have to leave memory before so much could be loaded; none
        when there is room, and none when there would not be with all of them gone."""
        others = [s for s in self.seats.values() if s.in_memory]
        crowded = self._lacks(others, estimate_bytes) and estimate_bytes <= self._most(others)
        return [s.name for s in others] if crowded else []

    def requests(self) -> int:
        """How many are answered or wait."""
        return sum(len(s.active) + len(s.queue) for s in self.seats.values())

    # Decisions.

    def _refusal(self, seat: Seat, demand: Demand, now: float) -> DimoraError | None:
        """Nobody can fill the queue so that others are shut out: each workspace has a share."""
        promises = seat.promises
        promised = promises.number(demand.workspace, now) > 0
        promised = promised and not promises.is_due(demand.workspace, now)

        def full(count: int, most: int) -> bool:
            # Half of it is given away, also if those it is promised to should not come.
            return 0 < most <= (2 * count if promised else count)

        queue, limits = seat.queue, self._limits
        own = queue.count(demand.workspace)
        waiting = queue.workspaces() | {demand.workspace}
        if full(own, limits.max_queue_per_workspace):
            room = limits.max_queue_per_workspace
            wait = self._promise(seat, demand, len(waiting), room, now)
            return TooManyRequests(
                f"{own} requests of this workspace already wait for this model",
                hint=f"try again in {wait} s",
                retry_after_seconds=wait,
            )
        if full(len(queue), limits.max_queue) and full(own * len(waiting), limits.max_queue):
            room = max(1, limits.max_queue // len(waiting))
            wait = self._promise(seat, demand, len(waiting), room, now)
            return Overloaded(
                "server busy, please try again.  maximum pending requests exceeded",
                hint=f"{len(queue)} requests wait for this model; try again in {wait} s",
                retry_after_seconds=wait,
            )
        return None

    def _promise(self, seat: Seat, demand: Demand, workspaces: int, room: int, now: float) -> int:
        """Seconds until there is room for one more. Workspaces take turns in leaving the queue."""
        answer = seat.habits.answer_seconds(seat.parallel)
        ready_at = now
        if seat.state == "loading":
            ready_at = seat.loading_since + seat.habits.load.seconds
        elif seat.state != "ready":
            ready_at = now + seat.habits.load.seconds
        granted = [active.granted for active in seat.active.values()]
        ends = departures(now, ready_at, granted, seat.parallel, answer)
        number = seat.promises.number(demand.workspace, now) + 1
        at = departure(number * workspaces, ends, answer)
        return seat.promises.make(demand.workspace, at, now, room)

    def _settle(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for seat in list(self.seats.values()):
            if seat.state == "ready":
                effects += self._serve(seat, now)
        for seat in sorted(self.seats.values(), key=lambda s: self._head_arrived(s, now)):
            if seat.state == "empty" and len(seat.queue):
                effects += self._make_room(seat, now)
                if seat.state == "empty" and self._is_out_of_patience(seat, now):
                    # What leaves memory, leaves it for this one: those behind would take it away.
                    break
        self._forget_empty()
        return effects

    def _serve(self, seat: Seat, now: float) -> list[Effect]:
        """Grant what the seat has room for, and stop it when it is closing or expired."""
        effects: list[Effect] = []
        while not seat.closing and len(seat.active) < seat.parallel:
            head = seat.queue.peek(now, lambda w: seat.may_begin(w, now))
            if head is None:
                break
            if not self._fits(seat, head):
                # What is loaded stays a while for those it serves, or two who want different
                # things would have it loaded anew for every answer.
                serves = seat.queue.peek(now, lambda w: self._fits(seat, w)) is not None
                seat.closing = not serves or seat.loaded_at + PATIENCE_SECONDS <= now
                head = seat.queue.peek(now, self._guests(seat, now))
            if seat.closing or head is None:
                break
            seat.queue.take(head, now)
            together = len(seat.active) + 1
            seat.active[head.ticket] = Active(head.workspace, head.batch, now, together)
            effects.append(Grant(head.ticket, seat.name))
        expired = seat.is_idle and seat.expires_at <= now
        if not seat.active and (seat.closing or expired):
            effects.append(self._stop(seat))
        return effects

    def _fits(self, seat: Seat, waiting: Waiting) -> bool:
        wanted = self._demands[waiting.ticket].plan
        return seat.plan is not None and seat.plan.serves(wanted)

    def _guests(self, seat: Seat, now: float) -> Callable[[Waiting], bool]:
        """Those who may begin with the model as it is loaded."""
        return lambda w: self._fits(seat, w) and seat.may_begin(w, now)

    def _make_room(self, seat: Seat, now: float) -> list[Effect]:
        """Load the seat if it fits, else free memory for it, else let it wait."""
        head = seat.queue.peek(now)
        if head is None:
            return []
        plan = self._demands[head.ticket].plan
        others = [s for s in self.seats.values() if s.in_memory]
        if not self._lacks(others, plan.estimate_bytes):
            seat.state, seat.plan, seat.closing = "loading", plan, False
            seat.loading_since = now
            seat.memory_bytes, seat.own_bytes = plan.estimate_bytes, 0
            return [Load(seat.name, plan)]
        most = self._most(others)
        if plan.estimate_bytes > most:
            error = _too_large(plan.estimate_bytes, most)
            # Others may ask for less of the model.
            refused = self._refuse(seat, error, lambda p: p.estimate_bytes > most)
            return [*refused, *self._make_room(seat, now)]
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
        missing = sum(s.memory_bytes for s in others) + plan.estimate_bytes - most
        if missing <= 0 and not self._are_too_many(others):
            # How much room there is will be known when those that load are there.
            return []
        if chosen := choose_victim(idle, missing):
            return [self._stop(self.seats[chosen])]
        if self._is_out_of_patience(seat, now) and not any(s.closing for s in others):
            ready = [s for s in others if s.state == "ready"]
            if ready:
                victim = min(ready, key=lambda s: s.last_used)
                victim.closing = True
                return self._serve(victim, now)
        return []

    def _lacks(self, loaded: list[Seat], estimate_bytes: int) -> bool:
        """Whether one more beside these needs another to leave."""
        # One that loads has taken an unknown part by now: it counts as if it had all to come.
        limit = self._memory_limit(sum(s.own_bytes for s in loaded))
        used = sum(s.memory_bytes for s in loaded)
        return self._are_too_many(loaded) or used + estimate_bytes > limit

    def _are_too_many(self, loaded: list[Seat]) -> bool:
        return 0 < self._limits.max_loaded <= len(loaded)

    def _most(self, loaded: list[Seat]) -> int:
        """The bytes that all models may take, as if those that load had taken all they will."""
        held = (s.memory_bytes if s.state == "loading" else s.own_bytes for s in loaded)
        return self._memory_limit(sum(held))

    def _is_out_of_patience(self, seat: Seat, now: float) -> bool:
        head = seat.queue.peek(now)
        return head is not None and head.arrived + PATIENCE_SECONDS <= now

    @staticmethod
    def _keep_alive(seat: Seat, demand: Demand) -> None:
        if demand.keep_alive_seconds is not None:
            seat.keep_alive_seconds = demand.keep_alive_seconds

    def _refuse(self, seat: Seat, error: DimoraError, whom: Callable[[Plan], bool]) -> list[Effect]:
        """Those who wait with such a plan."""
        tickets = [w.ticket for w in seat.queue if whom(self._demands[w.ticket].plan)]
        for ticket in tickets:
            seat.queue.remove(ticket)
            self._demands.pop(ticket, None)
        return [Refuse(ticket, error) for ticket in tickets]

    def _stop(self, seat: Seat) -> Stop:
        seat.state = "stopping"
        return Stop(seat.name)

    def _empty(self, seat: Seat) -> None:
        seat.state, seat.plan, seat.closing = "empty", None, False
        seat.memory_bytes = seat.own_bytes = 0
        for ticket in list(seat.active):
            # Their loans fail by themselves; when they depart there is nothing left to give back.
            self._demands.pop(ticket, None)
        seat.active.clear()
        seat.queue.release_all()

    def _head_arrived(self, seat: Seat, now: float) -> float:
        head = seat.queue.peek(now)
        return head.arrived if head else now

    def _seat(self, name: str, size_bytes: int) -> Seat:
        if name not in self.seats:
            habits = self._habits.pop(name, None) or Habits(size_bytes)
            self._habits[name] = habits
            if len(self._habits) > _HABITS:
                del self._habits[next(iter(self._habits))]
            self.seats[name] = Seat(name, self._limits.keep_alive_seconds, habits)
        return self.seats[name]

    def _forget_empty(self) -> None:
        for name in [n for n, s in self.seats.items() if not s.in_memory and not len(s.queue)]:
            del self.seats[name]


def _alike(plan: Plan, other: Plan | None) -> bool:
    return other is not None and (plan.engine, plan.options) == (other.engine, other.options)


def _too_large(needed: int, limit: int) -> StorageFull:
    return StorageFull(
        f"the model needs about {needed / 2**30:.1f} GiB of memory, and {limit / 2**30:.1f} GiB"
        " may be used",
        hint="choose a smaller model, a smaller num_ctx or num_parallel, or raise memory_limit",
        code="not_enough_memory",
    )
