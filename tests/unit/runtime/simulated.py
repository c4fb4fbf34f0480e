"""A world with a clock of its own for the scheduler: clients, and a machine that writes answers.

The machine works as engines with continuous batching do: in every step it reads up to a batch of
prompt tokens, in the order of its places, and writes one token of each answer that is read.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from dimora.runtime.scheduler import Demand, Grant, Limits, Load, Refuse, Scheduler, Stop
from dimora.runtime.seats import Plan
from dimora.tasks.options import LoadOptions

BATCH_TOKENS = 128
STEP_SECONDS = 0.004
READ_SECONDS = 0.0005
WRITE_SECONDS = 0.001


@dataclass
class Ask:
    """One request; times are filled in as it goes."""

    workspace: str
    prompt_tokens: int
    output_tokens: int
    batch: bool = False
    plan: Plan | None = None
    asked: float = 0.0
    granted: float | None = None
    first: float | None = None
    ended: float | None = None
    refused: Refuse | None = None
    then: Callable[[Ask], None] | None = None

    @property
    def first_seconds(self) -> float:
        return self.first - self.asked


@dataclass
class Answer:
    ask: Ask
    unread: int
    unwritten: int


@dataclass
class World:
    """Runs until nobody wants anything or the time is over. `plan` loads in `load_seconds`."""

    parallel: int = 4
    load_seconds: float = 1.0
    seed: int = 0
    max_queue: int = 512
    max_queue_per_workspace: int = 0
    now: float = 0.0
    log: list[Ask] = field(default_factory=list)
    loads: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.plan = Plan(
            engine="simulated", reason="", options=LoadOptions(num_ctx=4096, parallel=self.parallel)
        )
        limits = Limits(
            max_queue=self.max_queue,
            max_queue_per_workspace=self.max_queue_per_workspace,
            max_loaded=0,
            keep_alive_seconds=300.0,
        )
        self.scheduler = Scheduler(limits, lambda used: 2**40)
        self.tickets = itertools.count(1)
        self.asks: dict[int, Ask] = {}
        self.places: dict[int, tuple[int, Answer]] = {}
        self.agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, when: float, do: Callable[[], None]) -> None:
        heapq.heappush(self.agenda, (max(when, self.now), next(self._order), do))

    def ask_at(self, when: float, ask: Ask) -> None:
        self.at(when, lambda: self.ask(ask))

    def ask(self, ask: Ask) -> Ask:
        """Ask now. `then` is called when it is answered or refused."""
        ticket = next(self.tickets)
        ask.asked = self.now
        self.asks[ticket] = ask
        self.log.append(ask)
        demand = Demand(
            ticket=ticket,
            seat="m",
            plan=ask.plan or self.plan,
            workspace=ask.workspace,
            batch=ask.batch,
        )
        self.carry_out(self.scheduler.arrive(demand, self.now))
        return ask

    def run(self, until: float) -> None:
        while self.now < until:
            while self.agenda and self.agenda[0][0] <= self.now:
                heapq.heappop(self.agenda)[2]()
            if self.places:
                self._step()
            elif self.agenda:
                self.now = self.agenda[0][0]
            else:
                return

    def carry_out(self, effects) -> None:
        for effect in effects:
            match effect:
                case Load(seat=name):
                    self.loads += 1
                    self.at(self.now + self.load_seconds, lambda: self._loaded(name))
                case Stop(seat=name):
                    self.at(self.now + 0.1, lambda: self._stopped(name))
                case Grant(ticket=ticket):
                    ask = self.asks[ticket]
                    ask.granted = self.now
                    taken = {place for place, _ in self.places.values()}
                    place = self.random.choice([p for p in range(self.parallel) if p not in taken])
                    answer = Answer(ask, ask.prompt_tokens, ask.output_tokens)
                    self.places[ticket] = place, answer
                case Refuse(ticket=ticket):
                    ask = self.asks.pop(ticket)
                    ask.refused = effect
                    if ask.then:
                        self.at(self.now, lambda ask=ask: ask.then(ask))

    def _loaded(self, name: str) -> None:
        self.carry_out(self.scheduler.loaded(name, 2**20, self.now))

    def _stopped(self, name: str) -> None:
        self.carry_out(self.scheduler.stopped(name, self.now))

    def _step(self) -> None:
        room = BATCH_TOKENS
        seconds = STEP_SECONDS
        read, ended = [], []
        for ticket, (_, answer) in sorted(self.places.items(), key=lambda item: item[1][0]):
            if answer.unread:
                taken = min(room, answer.unread)
                answer.unread -= taken
                room -= taken
                seconds += taken * READ_SECONDS
                if not answer.unread:
                    read.append(ticket)
            else:
                answer.unwritten -= 1
                seconds += WRITE_SECONDS
            if not answer.unread and answer.unwritten <= 0:
                ended.append(ticket)
        self.now += seconds
        for ticket in read:
            self.asks[ticket].first = self.now
            self.carry_out(self.scheduler.began(ticket, self.now))
        for ticket in ended:
            del self.places[ticket]
            ask = self.asks.pop(ticket)
            ask.ended = self.now
            self.carry_out(self.scheduler.depart(ticket, self.now))
            if ask.then:
                self.at(self.now, lambda ask=ask: ask.then(ask))
