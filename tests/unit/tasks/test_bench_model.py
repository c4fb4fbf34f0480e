"""Measuring is a request like another: it takes turns, pushes nobody out, and is forgotten."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from pathlib import Path

import pytest

from dimora.core.errors import Conflict, DimoraError, Forbidden, NotFound, UnsupportedFeature
from dimora.core.settings import Settings
from dimora.core.types import Done, Principal, Progress, Queued
from dimora.runtime.house import House
from dimora.tasks.bench_model import BenchModel, ModelBenched
from dimora.tasks.forget_profile import ForgetProfile
from dimora.tasks.generate import Generate
from dimora.tasks.hold_model import HoldModel
from dimora.tasks.list_running import ListRunning
from dimora.tasks.options import Options
from dimora.tasks.plan_model import ModelPlanned, PlanModel
from dimora.tasks.profile import Benched, BenchWish, Figures
from dimora.tasks.show_model import ModelShown, ShowModel
from tests.unit.models.making import OllamaStore, tiny_gguf

OWNER = Principal(user="ada", workspace="main", roles=("owner",), proof="loopback")
ECHO = BenchWish(engines=("echo",), quick=True)


@pytest.fixture
async def make_house(tmp_path: Path):
    houses = []

    def make(**settings) -> House:
        file = tiny_gguf(tmp_path / "tiny.gguf", context_length=4096)
        store = OllamaStore(tmp_path / "home" / "models")
        for name in ("tiny", "other"):
            layers = [("model", file.read_bytes() + bytes(name == "other"))]
            store.model(("registry.ollama.ai", "library", name, "latest"), layers)
        made = {"home": tmp_path / "home", "llama_server": "none"} | settings
        houses.append(House(Settings(**made)))
        return houses[-1]

    yield make
    for house in houses:
        await house.close()


async def ask(house: House, request, principal: Principal = OWNER) -> list:
    return [event async for event in house.run(principal, request)]


async def bench(house: House, **wish) -> Benched:
    made = {"engines": ("echo",), "quick": True} | wish
    *steps, found, done = await ask(house, BenchModel(model="tiny", wish=BenchWish(**made)))
    assert all(isinstance(step, Progress | Queued) for step in steps)
    assert isinstance(done, Done)
    assert isinstance(found, ModelBenched)
    return found.benched


async def load(house: House, name: str) -> None:
    await ask(house, HoldModel(model=name, options=Options(engine="echo")))


async def running(house: House) -> list[str]:
    return [one.summary.name for one in (await ask(house, ListRunning()))[0].running]


def remember(house: House, name: str = "tiny") -> None:
    """As if it had been measured."""
    model = house.models.find(name)
    figures = Figures(
        engine="llama_cpp", version="1", load_seconds=1, read_tokens=1000, read_rate=1000.0,
        written_rate=100.0, streams=4, together_rate=200.0,
    )  # fmt: skip
    profile = house.planner.new_profile(model, (figures,), inexact=False)
    house.profiles.keep(model.load_key, profile)


async def test_an_engine_that_is_named_is_measured_and_gone_afterwards(make_house):
    house = make_house()
    benched = await bench(house)
    (figures,) = benched.figures
    assert figures.engine == "echo" and figures.read_rate > 0 and figures.together_rate > 0
    assert figures.memory_bytes > 1 << 20
    assert benched.eligible == () and benched.would is None, "it runs only when pinned"
    assert not benched.applied
    assert await running(house) == []
    assert not (house.settings.home / "profiles.json").exists()


async def test_a_figure_nobody_may_choose_is_not_applied(make_house):
    house = make_house()
    benched = await bench(house, apply=True)
    assert not benched.applied and "no engine that may be chosen" in benched.not_applied
    assert not (house.settings.home / "profiles.json").exists()


async def test_an_engine_that_cannot_load_it_is_a_reason_and_not_the_end(make_house):
    benched = await bench(make_house(), engines=("llama_cpp", "onnx", "echo"))
    assert [one.engine for one in benched.figures] == ["echo"]
    # The file has a header and no weights to speak of.
    assert benched.failed["llama_cpp"]
    assert "ONNX" in benched.refused["onnx"]


async def test_what_is_no_engine_or_cannot_load_it_is_an_error(make_house):
    house = make_house()
    for name in ("warp", "onnx"):
        with pytest.raises(UnsupportedFeature, match=name):
            await bench(house, engines=(name,))
    with pytest.raises(NotFound):
        await ask(house, BenchModel(model="nobody", wish=ECHO))


async def test_it_is_not_for_everybody(make_house):
    house = make_house()
    user = Principal(user="bo", workspace="main", roles=("user",), proof="api_key")
    for request in (BenchModel(model="tiny", wish=ECHO), ForgetProfile(model="tiny")):
        with pytest.raises(Forbidden):
            await ask(house, request, user)


async def test_what_is_loaded_stays_loaded(make_house):
    house = make_house()
    await load(house, "tiny")
    await load(house, "other")
    benched = await bench(house)
    assert benched.figures and benched.in_memory
    assert sorted(await running(house)) == ["other:latest", "tiny:latest"]


async def test_without_room_it_refuses_and_only_force_pushes_out(make_house):
    house = make_house(max_loaded_models=1)
    await load(house, "other")
    with pytest.raises(Conflict, match="other:latest") as refused:
        await bench(house)
    assert "dimora stop other:latest" in refused.value.hint and "--force" in refused.value.hint
    assert await running(house) == ["other:latest"]
    assert (await bench(house, force=True)).figures
    assert await running(house) == []


async def test_a_model_that_never_fits_says_so_in_its_own_words(make_house):
    benched = await bench(make_house(memory_limit_bytes=1 << 20))
    assert "needs about" in benched.failed["echo"]


async def test_while_others_are_answered_it_refuses(make_house):
    house = make_house()
    request = Generate(model="other", prompt="word " * 50, raw=True, options=Options(engine="echo"))
    async with aclosing(house.run(OWNER, request)) as answer:
        await anext(answer)
        with pytest.raises(Conflict, match="1 request is being answered"):
            await bench(house)
        assert (await bench(house, force=True)).figures[0].disturbed


async def test_one_who_comes_meanwhile_is_answered_and_noted(make_house):
    house = make_house()
    await load(house, "other")
    steps = []
    async with aclosing(house.run(OWNER, BenchModel(model="tiny", wish=ECHO))) as events:
        async for event in events:
            steps.append(event)
            if isinstance(event, Progress) and event.status == "echo: writing":
                request = Generate(
                    model="other", prompt="hi", raw=True, options=Options(engine="echo")
                )
                assert isinstance((await ask(house, request))[-1], Done)
    (figures,) = steps[-2].benched.figures
    assert figures.disturbed
    assert "other requests were answered meanwhile" in figures.notes


async def test_one_who_gives_up_leaves_nothing_behind(make_house):
    house = make_house()
    async with aclosing(house.run(OWNER, BenchModel(model="tiny", wish=ECHO))) as events:
        async for event in events:
            if isinstance(event, Progress) and event.status == "echo: reading":
                break
    give_up = time.monotonic() + 5
    while house.lending.requests() or await running(house):
        assert time.monotonic() < give_up
        await asyncio.sleep(0)


async def test_figures_that_were_applied_decide_and_are_shown_until_they_are_forgotten(make_house):
    house = make_house()

    async def reason() -> str:
        planned = (await ask(house, PlanModel(model="tiny")))[0]
        assert isinstance(planned, ModelPlanned) and planned.speed is not None
        told = planned.forecast.engine_reason
        assert (planned.speed.measured_at > 0) == told.startswith("measured")
        return told

    before = await reason()
    remember(house)
    assert (await reason()).endswith(": 3.5 s to read 1000 tokens and write 250")
    shown = (await ask(house, ShowModel(model="tiny")))[0]
    assert isinstance(shown, ModelShown) and shown.profile and not shown.profile.stale
    await ask(house, ForgetProfile(model="tiny"))
    assert await reason() == before
    with pytest.raises(NotFound, match="no measurement"):
        await ask(house, ForgetProfile(model="tiny"))


async def test_figures_are_of_one_model_alone(make_house):
    house = make_house()
    remember(house, "other")
    planned = (await ask(house, PlanModel(model="tiny")))[0]
    assert not planned.forecast.engine_reason.startswith("measured")
    assert (await ask(house, ShowModel(model="tiny")))[0].profile is None


async def test_what_the_request_or_the_settings_pin_is_above_them(make_house):
    house = make_house(engine="llama_cpp")
    remember(house)
    planned = (await ask(house, PlanModel(model="tiny")))[0]
    assert planned.forecast.engine_reason == "pinned by the settings"
    planned = (await ask(house, PlanModel(model="tiny", options=Options(engine="echo"))))[0]
    assert planned.forecast.engine == "echo"


async def test_a_damaged_list_of_figures_leaves_the_usual_rule(make_house):
    house = make_house()
    remember(house)
    (house.settings.home / "profiles.json").write_bytes(b'{"half')
    planned = (await ask(house, PlanModel(model="tiny")))[0]
    assert not planned.forecast.engine_reason.startswith("measured")
    with pytest.raises(DimoraError):
        await ask(house, ForgetProfile(model="tiny"))
