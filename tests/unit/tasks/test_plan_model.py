"""What a model takes is told before it is loaded, and what would fit when it does not."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from dimora.core.errors import NotFound, UnsupportedFeature
from dimora.core.settings import Settings
from dimora.core.types import Done, Principal, Usage
from dimora.runtime.house import House
from dimora.runtime.speeds import Seen, Speeds, expect
from dimora.tasks.advice import Footprint
from dimora.tasks.list_catalogue import CatalogueFound, ListCatalogue
from dimora.tasks.options import Options
from dimora.tasks.plan_model import ModelPlanned, PlanModel
from tests.unit.models.making import OllamaStore, tiny_gguf

OWNER = Principal(user="ada", workspace="main", roles=("owner",), proof="loopback")
TERMINAL = Principal(user="ada", workspace="main", roles=("owner",), proof="terminal")
GIB = 2**30
# Which engine comes first depends on the processor; these sizes are of one.
_ON = partial(Options, engine="openvino")


@pytest.fixture
def make_house(tmp_path: Path):
    def make(**settings) -> House:
        home = tmp_path / "home"
        file = tiny_gguf(tmp_path / "tiny.gguf", context_length=4096)
        OllamaStore(home / "models").model(
            ("registry.ollama.ai", "library", "tiny", "latest"), [("model", file.read_bytes())]
        )
        return House(Settings(home=home, llama_server="none", **settings))

    return make


async def ask(house: House, request, principal: Principal = OWNER):
    found, done = [event async for event in house.run(principal, request)]
    assert isinstance(done, Done)
    return found


async def plan(house: House, model: str, principal: Principal = OWNER, **words) -> ModelPlanned:
    return await ask(house, PlanModel(model=model, **words), principal)


async def test_a_model_that_is_here_is_planned_as_it_would_be_loaded(make_house):
    planned = await plan(make_house(num_parallel=3), "tiny", options=Options(num_ctx=100_000))
    assert planned.here and planned.fits and planned.remedies == ()
    assert (planned.forecast.num_ctx, planned.forecast.parallel) == (4096, 3)
    parts = planned.forecast.footprint
    assert planned.total_bytes == (
        parts.weights_bytes + parts.kv_cache_bytes + parts.compute_bytes + parts.overhead_bytes
    )


async def test_the_terminal_may_plan_a_file_and_nobody_else(make_house, tmp_path):
    house = make_house()
    path = str(tmp_path / "tiny.gguf")
    assert (await plan(house, path, TERMINAL)).name == "tiny.gguf"
    with pytest.raises(NotFound):
        await plan(house, path)


async def test_a_model_of_the_catalogue_is_planned_without_being_here(make_house):
    house = make_house(memory_limit_bytes=100 * GIB)
    options = Options(engine="llama_cpp")
    planned = await plan(house, "qwen3:4b", parallel=1, options=options)
    assert not planned.here and planned.fits
    assert planned.forecast.footprint.kv_cache_bytes == 36 * 8 * 256 * 2 * 4096
    assert planned.speed is not None and 0 < planned.speed.low < planned.speed.high
    with pytest.raises(NotFound):
        await plan(house, "no-such-model")


async def test_what_does_not_fit_comes_with_what_would(make_house):
    house = make_house(memory_limit_bytes=int(4.8 * GIB))
    planned = await plan(house, "qwen3:4b", options=_ON(num_ctx=16384), parallel=4)
    assert not planned.fits and planned.needed_bytes > 4.8 * GIB
    by_kind = {remedy.change: remedy for remedy in planned.remedies}
    assert set(by_kind) == {"context", "model"}
    assert by_kind["context"].value == "8192 for one answer"
    assert all(remedy.needed_bytes <= 4.8 * GIB for remedy in planned.remedies)
    again = await plan(house, "qwen3:4b", options=_ON(num_ctx=8192), parallel=1)
    assert again.fits and again.needed_bytes == by_kind["context"].needed_bytes


async def test_fewer_answers_are_the_first_remedy_where_they_are_enough(make_house):
    house = make_house(memory_limit_bytes=int(4.8 * GIB))
    planned = await plan(house, "qwen3:4b", options=_ON(), parallel=4)
    assert (planned.remedies[0].change, planned.remedies[0].value) == ("parallel", "2")


async def test_an_engine_that_cannot_load_it_says_why(make_house):
    with pytest.raises(UnsupportedFeature, match="gemma3"):
        await plan(make_house(), "gemma3:4b", options=Options(engine="openvino"))


async def test_an_embedder_writes_nothing_and_has_no_speed(make_house):
    planned = await plan(make_house(), "bge-m3:567m")
    assert planned.speed is None and planned.forecast.footprint.kv_cache_bytes == 0


async def test_the_catalogue_knows_what_fits_and_what_is_here(make_house):
    house = make_house(memory_limit_bytes=3 * GIB)
    found: CatalogueFound = await ask(house, ListCatalogue(fits=True, type="code"))
    assert [one.name for one in found.models] == ["qwen2.5-coder:0.5b", "qwen2.5-coder:1.5b"]
    every: CatalogueFound = await ask(house, ListCatalogue())
    assert all(one.memory_bytes for one in every.models)
    assert not any(one.here for one in every.models)


@pytest.mark.parametrize(
    ("words", "some", "none"),
    [
        ({"size": "small"}, "smollm2:135m", "qwen3:8b"),
        ({"type": "vision"}, "gemma3:4b", "qwen3:4b"),
        ({"type": "reasoning"}, "qwen3:4b", "llama3.2:3b"),
        ({"language": "it"}, "qwen3:8b", "olmo2:7b"),
        ({"licence": "gemma"}, "embeddinggemma:300m", "qwen3:8b"),
        ({"model": "LLAMA3.2"}, None, "llama3.2:1b"),
        ({"model": "llama3.2:latest"}, "llama3.2:3b", "llama3.2:1b"),
    ],
)
async def test_the_catalogue_is_searched_by(make_house, words, some, none):
    found: CatalogueFound = await ask(make_house(), ListCatalogue(**words))
    names = [one.name for one in found.models]
    assert none not in names and (some is None or some in names)


async def test_a_licence_stays_unaccepted_until_somebody_or_the_settings_accept(make_house):
    asked = ListCatalogue(model="gemma3:4b")
    found: CatalogueFound = await ask(make_house(), asked)
    assert found.terms is not None and not found.terms.accepted and not found.terms.is_open
    house = make_house(accepted_licences=("Gemma Terms of Use",))
    accepted: CatalogueFound = await ask(house, asked)
    assert accepted.terms is not None and accepted.terms.accepted
    assert accepted.models[0].accepted


def test_writing_is_bounded_by_what_has_to_be_read():
    footprint = Footprint(
        weights_bytes=0,
        kv_cache_bytes=0,
        compute_bytes=0,
        overhead_bytes=0,
        read_bytes_per_token=10**9,
        read_bytes_per_past_token=10**6,
        blocks=0,
    )
    speed = expect(footprint, 1000, 10e9, Seen())
    assert 0 < speed.low < speed.high < 10
    assert speed.high_when_full == pytest.approx(speed.high / 2)
    assert expect(Footprint(
        weights_bytes=0, kv_cache_bytes=0, compute_bytes=0, overhead_bytes=0
    ), 1, 10e9, Seen()).low == 0.0  # fmt: skip


def test_what_was_seen_is_remembered_and_short_answers_teach_nothing(tmp_path):
    speeds = Speeds(tmp_path)
    long = Usage(prompt_tokens=200, output_tokens=50, prompt_seconds=1.0, output_seconds=2.0)
    speeds.note("w", "llama_cpp", long)
    short = Usage(prompt_tokens=3, output_tokens=2, prompt_seconds=1.0, output_seconds=2.0)
    speeds.note("w", "llama_cpp", short)
    speeds.save()
    assert Speeds(tmp_path).seen("w", "llama_cpp") == Seen(written=25.0, read=200.0)
    assert Speeds(tmp_path).seen("w", "openvino") == Seen()
    (tmp_path / "speeds.json").write_text("{broken")
    assert Speeds(tmp_path).seen("w", "llama_cpp") == Seen()
