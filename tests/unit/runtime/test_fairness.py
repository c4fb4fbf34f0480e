"""The scheduler under load, in a world with a clock of its own."""

from __future__ import annotations

import random
from statistics import median

import pytest

from dimora.core.errors import Overloaded, TooManyRequests
from dimora.runtime.queueing import AGEING_SECONDS
from dimora.runtime.seats import COMPANY_SECONDS, Plan
from dimora.tasks.options import LoadOptions
from tests.unit.runtime.simulated import Ask, World


def about(tokens: int, chance: random.Random) -> int:
    return max(1, int(tokens * chance.uniform(0.6, 1.4)))


def flood(world: World, clients: int, prompt: int, output: int, **more) -> None:
    """Clients that ask again as soon as they are answered, and soon when they are refused."""
    chance = random.Random(world.seed)

    def ask() -> None:
        tokens = about(prompt, chance), about(output, chance)
        world.ask(Ask("flood", *tokens, then=again, **more))

    def again(ended: Ask) -> None:
        world.at(world.now + (0.05 if ended.refused else 0.0), ask)

    for _ in range(clients):
        world.at(chance.uniform(1, 2), ask)


def visits(world: World, count: int, prompt: int, start: float = 0.0, **more) -> list[Ask]:
    """One person who asks, reads the answer and asks again; the first visit is not measured."""
    chance = random.Random(world.seed + 1)
    made: list[Ask] = []

    def ask() -> None:
        again = Ask("quiet", about(prompt, chance), 30, then=lambda _: soon(), **more)
        made.append(world.ask(again))

    def soon() -> None:
        if len(made) <= count:
            world.at(world.now + chance.uniform(0.2, 3), ask)

    world.at(start, ask)
    return made


def first_seconds(made: list[Ask]) -> list[float]:
    return [ask.first_seconds for ask in made[1:]]


LOADS = {
    "chats": (50, 100),
    "documents": (2000, 32),
    "both": (500, 64),
    "only reading": (500, 1),
}


@pytest.mark.parametrize("parallel", [2, 4, 8, 16])
@pytest.mark.parametrize("load", LOADS)
def test_a_flood_of_one_workspace_at_most_doubles_the_first_token_of_another(parallel, load):
    prompt, output = LOADS[load]
    ratios = []
    for seed in range(4):
        quiet = World(parallel, seed=seed)
        alone = visits(quiet, 10, prompt)
        quiet.run(1000)
        loud = World(parallel, seed=seed)
        flood(loud, 2 * parallel + 8, prompt, output)
        beside = visits(loud, 10, prompt)
        loud.run(300)
        assert len(beside) == 11
        ratios.append(median(first_seconds(beside)) / median(first_seconds(alone)))
    assert max(ratios) <= 2.0, ratios
    assert median(ratios) <= 1.75, ratios


def test_short_questions_beside_a_flood_of_long_documents_wait_for_one_of_them_at_most():
    """They cannot be twice as fast as the rest of a document that is being read."""
    world = World(4, seed=1)
    flood(world, 16, 2000, 32)
    beside = visits(world, 20, 30)
    world.run(300)
    one_document = 2800 / 128 * (128 * 0.0005 + 0.004 + 4 * 0.001)
    assert max(first_seconds(beside)) <= 1.1 * one_document


def test_with_a_single_place_the_wait_is_one_answer():
    world = World(1, seed=3)
    flood(world, 30, 50, 100)
    beside = visits(world, 20, 50, start=5)
    world.run(300)
    longest = max(a.ended - a.granted for a in world.log if a.workspace == "flood" and a.ended)
    assert max(ask.granted - ask.asked for ask in beside) <= longest


def test_a_workspace_alone_uses_every_place_and_again_when_the_other_is_long_gone():
    world = World(4, seed=2)
    flood(world, 12, 50, 100)
    world.run(20)
    assert len(world.places) == 4
    world.ask(Ask("other", 10, 2))
    world.run(40)
    busy = []
    for step in range(100):
        world.run(41 + step * 0.3)
        busy.append(len(world.places))
    assert max(busy) == 3
    world.run(50 + COMPANY_SECONDS)
    assert len(world.places) == 4


def test_keeping_a_place_costs_little_when_there_are_several():
    def answered(company: bool) -> int:
        world = World(8, seed=4)
        if company:
            world.ask(Ask("other", 10, 2))
        flood(world, 32, 200, 100)
        world.run(120)
        return sum(a.ended is not None for a in world.log)

    assert answered(company=True) >= 0.9 * answered(company=False)


def test_two_floods_share_the_places_and_neither_waits_for_the_other():
    world = World(4, seed=5)
    chance = random.Random(5)

    def again(ask: Ask) -> None:
        world.ask(Ask(ask.workspace, 50, about(ask.output_tokens, chance), then=again))

    for name, output, clients in (("long", 300, 40), ("short", 20, 10)):
        for _ in range(clients):
            world.at(1, lambda name=name, output=output: again(Ask(name, 50, output)))
    world.run(200)
    shares = {
        name: sum(a.ended - a.granted for a in world.log if a.workspace == name and a.ended)
        for name in ("long", "short")
    }
    assert 0.5 <= shares["long"] / shares["short"] <= 2, shares


def test_everyone_is_served_in_the_order_of_his_workspace():
    for seed in range(10):
        world = World(random.Random(seed).choice([1, 2, 3, 8]), seed=seed)
        chance = random.Random(seed)
        for number in range(300):
            name, batch = chance.choice("aaaaaab"), chance.random() < 0.4
            ask = Ask(name, about(100, chance), about(20, chance), batch=batch)
            world.ask_at(chance.uniform(0, 30 if number else 0), ask)
        world.run(10_000)
        assert all(ask.ended for ask in world.log), "nobody is forgotten"
        for line in {(ask.workspace, ask.batch) for ask in world.log}:
            granted = [a.granted for a in world.log if (a.workspace, a.batch) == line]
            assert granted == sorted(granted)


def test_interactive_is_hardly_slower_beside_batch_work_of_the_same_workspace():
    quiet = World(4, seed=6)
    alone = visits(quiet, 15, 200)
    quiet.run(1000)
    loud = World(4, seed=6)
    flood(loud, 40, 200, 100, batch=True)
    for ask in loud.log:
        ask.workspace = "quiet"
    beside = visits(loud, 15, 200)
    loud.run(300)
    assert median(first_seconds(beside)) <= 2 * median(first_seconds(alone))


def test_batch_work_goes_on_beside_a_flood_of_interactive_requests():
    for parallel in (1, 2, 4):
        world = World(parallel, seed=7)
        flood(world, 40, 50, 50)
        batch = [Ask("flood", 50, 50, batch=True) for _ in range(5)]
        for ask in batch:
            world.ask_at(3, ask)
        world.run(3 + 6 * (AGEING_SECONDS + 5))
        assert all(ask.ended for ask in batch)
        assert batch[0].granted >= 3 + AGEING_SECONDS - 1, "and waits its time"


def crowd(world: World, clients: int, seconds: float, workspaces: str = "a") -> list[Ask]:
    """Clients that come back exactly when they are told; those who were refused twice or more."""
    chance = random.Random(world.seed)
    unlucky: list[Ask] = []

    def come(name: str, returned: bool) -> None:
        def then(ask: Ask) -> None:
            if ask.refused:
                if returned:
                    unlucky.append(ask)
                wait = ask.refused.error.retry_after_seconds
                world.at(world.now + wait, lambda: come(name, True))

        world.ask(Ask(name, about(100, chance), about(60, chance), then=then))

    for number in range(clients):
        name = workspaces[number % len(workspaces)]
        world.at(10 + chance.uniform(0, seconds), lambda name=name: come(name, False))
    return unlucky


@pytest.mark.parametrize(
    ("parallel", "clients", "seconds", "limits"),
    [
        (4, 80, 0.1, {"max_queue": 8}),
        (4, 400, 1, {"max_queue": 64}),
        (1, 30, 3, {"max_queue": 4}),
        (2, 100, 20, {"max_queue": 16}),
        (4, 80, 2, {"max_queue_per_workspace": 4}),
    ],
)
def test_one_who_waits_as_long_as_he_is_told_gets_in(parallel, clients, seconds, limits):
    refused = unlucky = 0
    for seed in range(5):
        world = World(parallel, seed=seed, **limits)
        world.ask(Ask("a", 100, 60))
        again = crowd(world, clients, seconds, "ab" if "max_queue_per_workspace" in limits else "a")
        world.run(10_000)
        assert sum(a.ended is not None for a in world.log) == clients + 1
        refused += sum(a.refused is not None for a in world.log) - len(again)
        unlucky += len(again)
    assert refused > clients / 4, "many are sent away"
    assert unlucky <= 0.03 * refused


def test_nobody_is_sent_away_much_longer_than_it_takes():
    for seed in range(5):
        world = World(4, seed=seed, max_queue=16)
        for _ in range(30):
            world.ask_at(1, Ask("a", 100, 60))
        world.run(9)
        crowd(world, 200, 1)
        world.run(10_000)
        told = [10 + a.refused.error.retry_after_seconds for a in world.log if a.refused]
        needed = 10 + sum(a.ended - a.granted for a in world.log[30:] if a.ended) / 4
        assert max(told) <= 3 * needed


def test_the_time_to_load_is_counted():
    world = World(2, load_seconds=40, seed=1, max_queue=4)
    world.ask(Ask("a", 10, 10))
    world.run(41)
    world.scheduler.unload("m", world.now)
    world.carry_out(world.scheduler.stopped("m", world.now))
    for _ in range(8):
        world.at(world.now, lambda: world.ask(Ask("a", 100, 60)))
    world.run(world.now + 0.01)
    told = [a.refused.error.retry_after_seconds for a in world.log if a.refused]
    assert len(told) == 4
    assert all(wait >= 40 for wait in told)


def test_a_flood_that_fills_the_queue_does_not_shut_the_door_for_others():
    world = World(2, seed=8, max_queue=20)
    flood(world, 40, 50, 50)
    world.run(5)
    assert any(a.refused for a in world.log)
    others = [world.ask(Ask(name, 50, 10)) for name in "bbbcc"]
    assert not any(a.refused for a in others)
    more = [world.ask(Ask("b", 50, 10)) for _ in range(30)]
    assert 3 <= sum(a.refused is None for a in more) <= 10, "up to a share of it"


def test_too_many_of_one_workspace_is_429_and_a_full_house_is_503():
    world = World(1, seed=9, max_queue=6, max_queue_per_workspace=4)
    refused = [world.ask(Ask("a", 50, 50)).refused for _ in range(5)]
    assert refused[:4] == [None] * 4
    assert isinstance(refused[4].error, TooManyRequests)
    assert refused[4].error.status == 429
    refused = [world.ask(Ask("b", 50, 50)).refused for _ in range(4)]
    assert refused[:3] == [None] * 3, "its share of six, though seven wait"
    assert isinstance(refused[3].error, Overloaded)
    assert refused[3].error.status == 503
    assert world.ask(Ask("c", 50, 50)).refused is None


def test_two_who_want_the_model_loaded_differently_do_not_stop_each_other_at_every_answer():
    world = World(2, load_seconds=3, seed=10)
    other = Plan(
        engine="simulated",
        reason="",
        options=LoadOptions(num_ctx=4096, parallel=2, num_thread=1),
        insisted=frozenset({"num_thread"}),
    )
    chance = random.Random(10)

    def again(ask: Ask) -> None:
        world.ask(Ask(ask.workspace, 50, about(20, chance), plan=ask.plan, then=again))

    for name, plan in (("a", other), ("b", None)):
        for _ in range(6):
            mine = plan or Plan(
                engine="simulated",
                reason="",
                options=world.plan.options,
                insisted=frozenset({"num_thread"}),
            )
            world.at(1, lambda name=name, mine=mine: again(Ask(name, 50, 20, plan=mine)))
    world.run(400)
    ended = {
        name: sum(a.ended is not None for a in world.log if a.workspace == name) for name in "ab"
    }
    assert world.loads <= 400 / 30 + 2
    assert min(ended.values()) > 0.3 * max(ended.values()), ended
