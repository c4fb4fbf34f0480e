"""The scheduler has no clock and no processes, so neither have its tests."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dimora.core.durations import FOREVER
from dimora.core.errors import InvalidModel, Overloaded, StorageFull, TooManyRequests
from dimora.runtime.scheduler import (
    PATIENCE_SECONDS,
    Demand,
    Grant,
    Limits,
    Load,
    Refuse,
    Scheduler,
    Stop,
)
from dimora.runtime.seats import Plan
from dimora.tasks.options import LoadOptions

GIB = 2**30


def limits(**changes) -> Limits:
    return Limits(
        **{
            "max_queue": 512,
            "max_queue_per_workspace": 0,
            "max_loaded": 0,
            "keep_alive_seconds": 300.0,
        }
        | changes
    )


def make(memory: int = 10 * GIB, **changes) -> Scheduler:
    return Scheduler(limits(**changes), lambda used: memory)


def plan(parallel: int = 1, gib: float = 1, engine: str = "a", insisted=(), **options) -> Plan:
    return Plan(
        engine=engine,
        reason="",
        options=LoadOptions(**{"num_ctx": 4096, "parallel": parallel} | options),
        insisted=frozenset(insisted),
        estimate_bytes=int(gib * GIB),
    )


def demand(ticket: int, seat: str = "m", plan_: Plan | None = None, **more) -> Demand:
    return Demand(ticket=ticket, seat=seat, plan=plan_ or plan(), **{"workspace": "main"} | more)


def test_the_first_request_loads_and_is_granted_when_loaded():
    scheduler = make()
    assert scheduler.arrive(demand(1), 0.0) == [Load("m", plan())]
    assert scheduler.loaded("m", GIB, 1.0) == [Grant(1, "m")]


def test_requests_during_loading_cause_no_second_load():
    scheduler = make()
    scheduler.arrive(demand(1), 0.0)
    assert scheduler.arrive(demand(2), 0.1) == []
    assert scheduler.loaded("m", GIB, 1.0) == [Grant(1, "m")]


def test_as_many_run_at_once_as_the_model_writes_at_a_time():
    scheduler = make()
    two = plan(parallel=2)
    for ticket in (1, 2, 3):
        scheduler.arrive(demand(ticket, plan_=two), 0.0)
    assert scheduler.loaded("m", GIB, 1.0) == [Grant(1, "m"), Grant(2, "m")]
    assert scheduler.depart(1, 2.0) == [Grant(3, "m")]


def test_one_who_leaves_the_queue_is_never_granted():
    scheduler = make()
    scheduler.arrive(demand(1), 0.0)
    scheduler.arrive(demand(2), 0.0)
    scheduler.arrive(demand(3), 0.0)
    scheduler.loaded("m", GIB, 1.0)
    assert scheduler.depart(2, 1.5) == []
    assert scheduler.depart(1, 2.0) == [Grant(3, "m")]


def test_a_failed_load_is_told_to_everyone_who_waits():
    scheduler = make()
    scheduler.arrive(demand(1), 0.0)
    scheduler.arrive(demand(2), 0.0)
    error = InvalidModel("broken")
    assert scheduler.load_failed("m", error, 1.0) == [Refuse(1, error), Refuse(2, error)]
    assert isinstance(scheduler.arrive(demand(3), 2.0)[0], Load)


def test_it_tells_who_would_have_to_leave_before_anything_is_loaded():
    scheduler = make(memory=3 * GIB)
    assert scheduler.crowded_by(2 * GIB) == []
    scheduler.arrive(demand(1), 0.0)
    assert scheduler.requests() == 1
    scheduler.loaded("m", GIB, 1.0)
    scheduler.depart(1, 2.0)
    assert scheduler.requests() == 0
    assert scheduler.crowded_by(2 * GIB) == []
    assert scheduler.crowded_by(2 * GIB + 1) == ["m"]
    assert scheduler.crowded_by(3 * GIB + 1) == [], "no room even without it: that is another error"
    assert make(max_loaded=1).crowded_by(GIB) == []


def test_a_failed_load_is_not_told_to_those_who_asked_for_another():
    scheduler = make()
    scheduler.arrive(demand(1, plan_=plan(engine="a", insisted=["engine"])), 0.0)
    other = plan(engine="b", insisted=["engine"])
    scheduler.arrive(demand(2, plan_=other), 0.0)
    error = InvalidModel("broken")
    assert scheduler.load_failed("m", error, 1.0) == [Refuse(1, error), Load("m", other)]


def test_an_idle_model_leaves_after_its_keep_alive_and_not_before():
    scheduler = make(keep_alive_seconds=10.0)
    scheduler.arrive(demand(1), 0.0)
    scheduler.loaded("m", GIB, 1.0)
    scheduler.depart(1, 5.0)
    assert scheduler.alarm(5.0) == 15.0
    assert scheduler.tick(14.9) == []
    assert scheduler.tick(15.0) == [Stop("m")]


def test_keep_alive_of_zero_unloads_right_after_the_answer():
    scheduler = make()
    scheduler.arrive(demand(1, keep_alive_seconds=0.0), 0.0)
    scheduler.loaded("m", GIB, 1.0)
    assert scheduler.depart(1, 5.0) == [Stop("m")]


def test_keep_alive_forever_never_expires():
    scheduler = make()
    scheduler.arrive(demand(1, keep_alive_seconds=FOREVER), 0.0)
    scheduler.loaded("m", GIB, 1.0)
    scheduler.depart(1, 5.0)
    assert scheduler.tick(1e12) == []


def test_an_absent_keep_alive_leaves_what_held_before():
    scheduler = make(keep_alive_seconds=10.0)
    scheduler.arrive(demand(1, keep_alive_seconds=50.0), 0.0)
    scheduler.loaded("m", GIB, 0.0)
    scheduler.depart(1, 1.0)
    scheduler.arrive(demand(2), 2.0)
    scheduler.depart(2, 3.0)
    assert scheduler.alarm(3.0) == 53.0


def test_a_larger_window_reloads_once_nobody_uses_the_model():
    scheduler = make()
    scheduler.arrive(demand(1, plan_=plan(num_ctx=2048)), 0.0)
    scheduler.loaded("m", GIB, 0.0)
    larger = plan(num_ctx=8192, insisted=["num_ctx"])
    assert scheduler.arrive(demand(2, plan_=larger), 1.0) == []
    assert scheduler.depart(1, 2.0) == [Stop("m")]
    assert scheduler.stopped("m", 3.0) == [Load("m", larger)]
    assert scheduler.loaded("m", GIB, 4.0) == [Grant(2, "m")]


def test_a_window_is_never_less_than_is_usual_for_who_names_none():
    scheduler = make()
    small = plan(num_ctx=512, insisted=["num_ctx"])
    scheduler.arrive(demand(1, plan_=small), 0.0)
    scheduler.loaded("m", GIB, 0.0)
    usual = plan(num_ctx=4096)
    assert scheduler.arrive(demand(2, plan_=usual), 1.0) == []
    assert scheduler.depart(1, 2.0) == [Stop("m")]
    assert scheduler.stopped("m", 3.0) == [Load("m", usual)]
    scheduler.loaded("m", GIB, 4.0)
    scheduler.depart(2, 5.0)
    assert scheduler.arrive(demand(3, plan_=small), 6.0) == [Grant(3, "m")]


def test_a_smaller_window_and_no_wish_at_all_use_the_model_as_it_is():
    scheduler = make()
    scheduler.arrive(demand(1, plan_=plan(parallel=3, num_ctx=8192)), 0.0)
    scheduler.loaded("m", GIB, 0.0)
    smaller = plan(num_ctx=1024, insisted=["num_ctx"])
    assert scheduler.arrive(demand(2, plan_=smaller), 1.0) == [Grant(2, "m")]
    other = plan(num_ctx=8192, engine="b")
    assert scheduler.arrive(demand(3, plan_=other), 1.0) == [Grant(3, "m")]


def test_an_idle_model_makes_room_for_another():
    scheduler = make(memory=3 * GIB)
    scheduler.arrive(demand(1, "old", plan(gib=2)), 0.0)
    scheduler.loaded("old", 2 * GIB, 0.0)
    scheduler.depart(1, 1.0)
    assert scheduler.arrive(demand(2, "new", plan(gib=2)), 2.0) == [Stop("old")]
    assert scheduler.stopped("old", 3.0) == [Load("new", plan(gib=2))]


def test_two_models_that_fit_stay_together():
    scheduler = make(memory=5 * GIB)
    for ticket, name in ((1, "x"), (2, "y")):
        assert isinstance(scheduler.arrive(demand(ticket, name, plan(gib=2)), 0.0)[0], Load)
        scheduler.loaded(name, 2 * GIB, 0.0)


def test_measured_memory_counts_and_not_the_estimate():
    scheduler = make(memory=3 * GIB)
    scheduler.arrive(demand(1, "x", plan(gib=2)), 0.0)
    scheduler.loaded("x", GIB // 2, 0.0)
    assert scheduler.arrive(demand(2, "y", plan(gib=2)), 0.0) == [Load("y", plan(gib=2))]


def test_a_busy_model_is_never_stopped_and_the_other_waits():
    scheduler = make(memory=3 * GIB)
    scheduler.arrive(demand(1, "busy", plan(gib=2)), 0.0)
    scheduler.loaded("busy", 2 * GIB, 0.0)
    assert scheduler.arrive(demand(2, "new", plan(gib=2)), 1.0) == []
    assert scheduler.tick(5.0) == []
    assert scheduler.depart(1, 6.0) == [Stop("busy")]


def test_a_model_under_steady_load_gives_way_in_the_end():
    scheduler = make(memory=3 * GIB)
    two = plan(gib=2, parallel=2)
    scheduler.arrive(demand(1, "busy", two), 0.0)
    scheduler.loaded("busy", 2 * GIB, 0.0)
    scheduler.arrive(demand(2, "new", plan(gib=2)), 1.0)
    late = 1.0 + PATIENCE_SECONDS
    assert scheduler.alarm(2.0) == late
    scheduler.tick(late)
    assert scheduler.arrive(demand(3, "busy", two), late + 1) == []
    assert scheduler.depart(1, late + 2) == [Stop("busy")]
    assert Load("new", plan(gib=2)) in scheduler.stopped("busy", late + 3)


class Machine:
    """Memory as a system tells it: what a model takes while it loads is gone only bit by bit."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.taken: dict[str, int] = {}

    def limit(self, own_bytes: int) -> int:
        return self.total - sum(self.taken.values()) + own_bytes


def test_models_that_load_at_the_same_time_do_not_take_the_same_memory():
    machine = Machine(16 * GIB)
    scheduler = Scheduler(limits(), machine.limit)
    assert scheduler.arrive(demand(1, "a", plan(gib=10)), 0.0) == [Load("a", plan(gib=10))]
    assert scheduler.arrive(demand(2, "b", plan(gib=10)), 1.0) == []
    machine.taken["a"] = 6 * GIB
    assert scheduler.arrive(demand(3, "c", plan(gib=5)), 2.0) == [], "how much is left is not known"
    machine.taken["a"] = 10 * GIB
    assert scheduler.loaded("a", 10 * GIB, 3.0) == [Grant(1, "a"), Load("c", plan(gib=5))]
    machine.taken["c"] = 5 * GIB
    assert scheduler.loaded("c", 5 * GIB, 4.0) == [Grant(3, "c")]
    assert scheduler.depart(1, 5.0) == [Stop("a")], "for the one who waits longest"
    machine.taken["a"] = 0
    assert scheduler.stopped("a", 6.0) == [Load("b", plan(gib=10))]


def test_what_would_fit_once_another_has_loaded_is_not_refused_meanwhile():
    machine = Machine(16 * GIB)
    scheduler = Scheduler(limits(), machine.limit)
    scheduler.arrive(demand(1, "a", plan(gib=10)), 0.0)
    machine.taken["a"] = 9 * GIB
    assert scheduler.arrive(demand(2, "b", plan(gib=12)), 1.0) == []
    assert isinstance(scheduler.arrive(demand(3, "c", plan(gib=30)), 1.0)[0], Refuse)


def test_pages_of_files_count_as_free_only_once():
    machine = Machine(16 * GIB)
    scheduler = Scheduler(limits(), machine.limit)
    scheduler.arrive(demand(1, "mapped", plan(gib=10)), 0.0)
    machine.taken["mapped"] = GIB
    scheduler.loaded("mapped", 10 * GIB, 1.0, GIB)
    assert scheduler.arrive(demand(2, "b", plan(gib=7)), 2.0) == []
    assert scheduler.depart(1, 3.0) == [Stop("mapped")]


def test_a_model_for_which_two_must_leave_is_not_kept_waiting_by_those_two():
    scheduler = make()
    two = plan(gib=4, parallel=2)
    tickets = itertools.count(1)
    current = {}
    for name in ("a", "b"):
        current[name] = next(tickets)
        scheduler.arrive(demand(current[name], name, two), 0.0)
        scheduler.loaded(name, 4 * GIB, 0.0)
    big = next(tickets)
    scheduler.arrive(demand(big, "c", plan(gib=9)), 1.0)
    loads, now = [], 1.0 + PATIENCE_SECONDS
    effects = scheduler.tick(now)
    for _ in range(20):
        now += 1
        # Each of them has somebody who asks again and again.
        for name, ticket in current.items():
            current[name] = next(tickets)
            effects += scheduler.arrive(demand(current[name], name, two), now)
            effects += scheduler.depart(ticket, now)
        stops = [e.seat for e in effects if isinstance(e, Stop)]
        loads += [e.seat for e in effects if isinstance(e, Load)]
        effects = [effect for name in stops for effect in scheduler.stopped(name, now)]
    assert loads == ["c"]


def test_the_wish_of_one_who_leaves_while_it_loads_is_kept():
    scheduler = make()
    scheduler.arrive(demand(1, keep_alive_seconds=0.0), 0.0)
    scheduler.depart(1, 1.0)
    assert scheduler.loaded("m", GIB, 2.0) == [Stop("m")]


def test_who_wants_a_model_gone_while_it_loads_has_nobody_wait_for_it_twice():
    scheduler = make()
    scheduler.arrive(demand(1), 0.0)
    assert scheduler.unload("m", 1.0) == []
    assert scheduler.loaded("m", GIB, 2.0) == [Grant(1, "m")]
    assert scheduler.depart(1, 3.0) == [Stop("m")]


def test_who_only_looked_tells_nothing_of_how_long_an_answer_takes():
    scheduler = make(max_queue=1)
    scheduler.arrive(demand(1), 0.0)
    scheduler.loaded("m", GIB, 0.0)
    scheduler.depart(1, 0.001)
    scheduler.arrive(demand(2), 1.0)
    scheduler.arrive(demand(3), 1.0)
    (refusal,) = scheduler.arrive(demand(4), 1.0)
    assert refusal.error.retry_after_seconds > 2


def test_a_model_larger_than_all_memory_is_refused_with_both_sizes():
    scheduler = make(memory=GIB)
    (refusal,) = scheduler.arrive(demand(1, plan_=plan(gib=4)), 0.0)
    assert isinstance(refusal, Refuse)
    assert isinstance(refusal.error, StorageFull)
    assert "4.0 GiB" in refusal.error.message
    assert "1.0 GiB" in refusal.error.message


def test_one_who_wants_too_much_of_a_model_is_refused_and_the_others_are_not():
    scheduler = make(memory=3 * GIB)
    scheduler.arrive(demand(1, "x", plan(gib=2)), 0.0)
    scheduler.loaded("x", 2 * GIB, 0.0)
    scheduler.arrive(demand(2, "m", plan(gib=2)), 0.0)
    scheduler.arrive(demand(3, "m", plan(gib=9)), 0.0)
    scheduler.arrive(demand(4, "m", plan(gib=1.5)), 0.0)
    (refusal,) = scheduler.depart(2, 0.5)
    assert (refusal.ticket, type(refusal.error)) == (3, StorageFull)
    assert scheduler.depart(1, 1.0) == [Stop("x")]
    assert scheduler.stopped("x", 2.0) == [Load("m", plan(gib=1.5))]


def test_models_give_way_one_after_the_other_until_there_is_room():
    """An idle one is stopped when the patience is over, and not at some later event."""
    scheduler = make(memory=4 * GIB)
    for ticket, name in ((1, "busy"), (2, "idle")):
        scheduler.arrive(demand(ticket, name, plan(gib=2)), float(ticket))
        scheduler.loaded(name, 2 * GIB, float(ticket))
    scheduler.depart(2, 3.0)
    assert scheduler.arrive(demand(3, "new", plan(gib=4)), 4.0) == [Stop("idle")]
    assert scheduler.stopped("idle", 5.0) == []
    late = 4.0 + PATIENCE_SECONDS
    assert scheduler.alarm(5.0) == late
    scheduler.tick(late)
    assert scheduler.depart(1, late + 1) == [Stop("busy")]
    assert scheduler.stopped("busy", late + 2) == [Load("new", plan(gib=4))]


def test_a_limit_on_the_number_of_models_holds():
    scheduler = make(max_loaded=1)
    scheduler.arrive(demand(1, "x"), 0.0)
    scheduler.loaded("x", GIB, 0.0)
    scheduler.depart(1, 1.0)
    assert scheduler.arrive(demand(2, "y"), 2.0) == [Stop("x")]


def test_a_full_queue_refuses_with_a_time_to_try_again():
    scheduler = make(max_queue=2)
    for ticket in (1, 2, 3):
        scheduler.arrive(demand(ticket), 0.0)
        scheduler.loaded("m", GIB, 0.0)
    (refusal,) = scheduler.arrive(demand(4), 0.0)
    assert isinstance(refusal, Refuse)
    assert isinstance(refusal.error, Overloaded)
    assert refusal.error.retry_after_seconds >= 1


def test_a_workspace_over_its_own_limit_is_told_so_and_others_are_not():
    scheduler = make(max_queue_per_workspace=1)
    scheduler.arrive(demand(1), 0.0)
    (refusal,) = scheduler.arrive(demand(2), 0.0)
    assert isinstance(refusal.error, TooManyRequests)
    assert scheduler.arrive(demand(3, workspace="other"), 0.0) == []


def test_a_dead_worker_is_replaced_for_those_who_wait():
    scheduler = make()
    scheduler.arrive(demand(1), 0.0)
    scheduler.loaded("m", GIB, 0.0)
    scheduler.arrive(demand(2), 1.0)
    assert scheduler.stopped("m", 2.0) == [Load("m", plan())]
    assert scheduler.depart(1, 2.0) == []
    assert scheduler.loaded("m", GIB, 3.0) == [Grant(2, "m")]


def test_the_last_place_is_kept_for_one_who_was_here_lately():
    scheduler = make()
    three = plan(parallel=3)
    scheduler.arrive(demand(1, plan_=three, workspace="b"), 0.0)
    scheduler.loaded("m", GIB, 0.0)
    scheduler.depart(1, 1.0)
    granted = []
    for ticket in (2, 3, 4):
        granted += scheduler.arrive(demand(ticket, plan_=three, workspace="a"), 2.0)
    assert granted == [Grant(2, "m")], "and one prompt is read at a time"
    assert scheduler.began(2, 3.0) == [Grant(3, "m")]
    assert scheduler.began(3, 4.0) == []
    assert scheduler.arrive(demand(5, plan_=three, workspace="b"), 5.0) == [Grant(5, "m")]
    assert scheduler.depart(2, 6.0) == [], "while the other's prompt is being read"
    assert scheduler.began(5, 7.0) == [Grant(4, "m")]


def test_the_last_place_is_not_for_batch_work_where_people_ask():
    scheduler = make()
    two = plan(parallel=2)
    scheduler.arrive(demand(1, plan_=two), 0.0)
    scheduler.loaded("m", GIB, 0.0)
    scheduler.depart(1, 1.0)
    assert scheduler.arrive(demand(2, plan_=two, batch=True), 2.0) == [Grant(2, "m")]
    scheduler.began(2, 3.0)
    assert scheduler.arrive(demand(3, plan_=two, batch=True), 3.0) == []
    assert scheduler.arrive(demand(4, plan_=two), 4.0) == [Grant(4, "m")]
    assert scheduler.began(4, 5.0) == []
    assert scheduler.depart(2, 6.0) == [Grant(3, "m")]


def test_unload_waits_for_the_answer_being_written():
    scheduler = make()
    scheduler.arrive(demand(1), 0.0)
    scheduler.loaded("m", GIB, 0.0)
    assert scheduler.unload("m", 1.0) == []
    assert scheduler.depart(1, 2.0) == [Stop("m")]
    assert scheduler.unload("never heard of", 3.0) == []


class Life(RuleBasedStateMachine):
    """Any order of events keeps the promises."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = make(memory=4 * GIB, max_queue=8)
        self.now = 0.0
        self.tickets = itertools.count(1)
        self.waiting: set[int] = set()
        self.running: dict[int, str] = {}
        self.lines: dict[int, tuple[str, str, bool]] = {}
        self.loading: set[str] = set()
        self.up: set[str] = set()
        self.stopping: set[str] = set()

    def carry_out(self, effects) -> None:
        for effect in effects:
            match effect:
                case Load(seat=name):
                    assert name not in self.up | self.loading | self.stopping
                    self.loading.add(name)
                case Stop(seat=name):
                    assert name in self.up
                    assert name not in self.running.values(), "a busy model was stopped"
                    self.up.discard(name)
                    self.stopping.add(name)
                case Grant(ticket=ticket, seat=name):
                    assert ticket in self.waiting, "granted twice, or after leaving"
                    assert name in self.up
                    line = self.lines[ticket]
                    before = [t for t in self.waiting if self.lines[t] == line and t < ticket]
                    assert not before, "overtaken in its own line"
                    self.waiting.discard(ticket)
                    self.running[ticket] = name
                case Refuse(ticket=ticket):
                    self.waiting.discard(ticket)

    @rule(
        seat=st.sampled_from("abc"),
        gib=st.sampled_from([1, 2, 3]),
        ctx=st.sampled_from([None, 1024, 8192]),
        keep=st.sampled_from([None, 0.0, 5.0, FOREVER]),
        workspace=st.sampled_from("pqr"),
        batch=st.booleans(),
    )
    def arrive(self, seat, gib, ctx, keep, workspace, batch):
        ticket = next(self.tickets)
        self.lines[ticket] = seat, workspace, batch
        self.waiting.add(ticket)
        wanted = plan(2, gib, insisted=["num_ctx"] if ctx else [], num_ctx=ctx or 4096)
        self.carry_out(
            self.scheduler.arrive(
                demand(
                    ticket,
                    seat,
                    wanted,
                    keep_alive_seconds=keep,
                    workspace=workspace,
                    batch=batch,
                ),
                self.now,
            )
        )

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def begin_to_write(self, data):
        ticket = data.draw(st.sampled_from(sorted(self.running)))
        self.carry_out(self.scheduler.began(ticket, self.now))

    @precondition(lambda self: self.waiting or self.running)
    @rule(data=st.data())
    def depart(self, data):
        ticket = data.draw(st.sampled_from(sorted(self.waiting | set(self.running))))
        self.waiting.discard(ticket)
        self.running.pop(ticket, None)
        self.carry_out(self.scheduler.depart(ticket, self.now))

    @precondition(lambda self: self.loading)
    @rule(data=st.data(), works=st.booleans())
    def finish_loading(self, data, works):
        name = data.draw(st.sampled_from(sorted(self.loading)))
        self.loading.discard(name)
        if works:
            self.up.add(name)
            self.carry_out(self.scheduler.loaded(name, GIB, self.now))
        else:
            self.carry_out(self.scheduler.load_failed(name, InvalidModel("x"), self.now))

    @precondition(lambda self: self.stopping)
    @rule(data=st.data())
    def finish_stopping(self, data):
        name = data.draw(st.sampled_from(sorted(self.stopping)))
        self.stopping.discard(name)
        self.carry_out(self.scheduler.stopped(name, self.now))

    @precondition(lambda self: self.up)
    @rule(data=st.data())
    def die(self, data):
        name = data.draw(st.sampled_from(sorted(self.up)))
        self.up.discard(name)
        self.running = {t: n for t, n in self.running.items() if n != name}
        self.carry_out(self.scheduler.stopped(name, self.now))

    @rule(seconds=st.sampled_from([0.1, 6.0, 40.0]))
    def wait(self, seconds):
        self.now += seconds
        self.carry_out(self.scheduler.tick(self.now))

    @invariant()
    def nobody_waits_for_nothing(self):
        """Whoever waits, something is under way or busy, or an alarm will ring."""
        if self.waiting:
            assert (
                self.loading
                or self.stopping
                or self.running
                or self.scheduler.alarm(self.now) is not None
            )

    @invariant()
    def no_seat_takes_more_than_it_writes_at_a_time(self):
        for seat in self.scheduler.seats.values():
            assert len(seat.active) <= seat.parallel

    def teardown(self):
        """When all goes well from here on, everyone is answered in the end."""
        for _ in range(500):
            if not self.waiting and not self.running:
                break
            for name in sorted(self.loading):
                self.loading.discard(name)
                self.up.add(name)
                self.carry_out(self.scheduler.loaded(name, GIB, self.now))
            for name in sorted(self.stopping):
                self.stopping.discard(name)
                self.carry_out(self.scheduler.stopped(name, self.now))
            for ticket in sorted(self.running):
                del self.running[ticket]
                self.carry_out(self.scheduler.depart(ticket, self.now))
            due = self.scheduler.alarm(self.now)
            self.now = min(due or self.now, self.now + 60) + 0.001
            self.carry_out(self.scheduler.tick(self.now))
        assert not self.waiting


Life.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLife = pytest.mark.timeout(120)(Life.TestCase)
