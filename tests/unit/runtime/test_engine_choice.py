from __future__ import annotations

import sys

import pytest

from dimora.core.errors import UnsupportedFeature
from dimora.core.shelf import Shelf
from dimora.engines.base import EngineSettings
from dimora.runtime.engine_choice import choose_engine, refusals
from dimora.tasks.base import Model, ModelDetails, ModelSummary

SETTINGS = EngineSettings(scratch_path="")
MODEL = Model(
    summary=ModelSummary(
        name="m", digest="", size_bytes=1, modified_at=0.0, details=ModelDetails()
    ),
    weights_digest="w",
)
ENGINE = """
from dimora.engines.base import Offer
def offer(settings): return Offer(available={available}, reason="is not installed")
def refuses(model): return {refuses!r}
def rank(model, settings): return {rank}, "because {name}"
"""


@pytest.fixture
def make_shelf(tmp_path, monkeypatch):
    folder = tmp_path / "some_engines"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(**engines) -> Shelf:
        for name, (rank, available, refuses) in engines.items():
            text = ENGINE.format(name=name, rank=rank, available=available, refuses=refuses)
            (folder / f"{name}.py").write_text(text)
        return Shelf("some_engines")

    yield make
    for name in [n for n in sys.modules if n.startswith("some_engines")]:
        del sys.modules[name]


def choose(shelf, pinned=""):
    return choose_engine(shelf, MODEL, SETTINGS, pinned=pinned, pinned_by="the request")


def test_the_highest_rank_wins_and_says_why(make_shelf):
    choice = choose(make_shelf(slow=(1, True, ""), fast=(9, True, "")))
    assert choice.engine == "fast"
    assert choice.reason == "because fast"


def test_one_that_refuses_or_is_not_here_is_passed_over_and_named(make_shelf):
    choice = choose(
        make_shelf(
            slow=(1, True, ""),
            fast=(9, True, "cannot read Q5_0"),
            gone=(9, False, ""),
            other=(0, True, "reads another format"),
        )
    )
    assert choice.engine == "slow"
    assert "other" not in choice.reason, "it would not have been chosen anyway"
    assert "fast: cannot read Q5_0" in choice.reason
    assert "gone: is not installed" in choice.reason


def test_rank_zero_runs_only_when_pinned(make_shelf):
    shelf = make_shelf(echo=(0, True, ""))
    with pytest.raises(UnsupportedFeature):
        choose(shelf)
    assert choose(shelf, "echo").reason == "pinned by the request"


def test_a_pinned_engine_that_refuses_is_an_error_with_its_reason(make_shelf):
    shelf = make_shelf(slow=(1, True, ""), fast=(9, True, "cannot read Q5_0"))
    with pytest.raises(UnsupportedFeature, match="cannot read Q5_0"):
        choose(shelf, "fast")


def test_an_unknown_pinned_engine_tells_the_known_ones(make_shelf):
    with pytest.raises(UnsupportedFeature) as caught:
        choose(make_shelf(slow=(1, True, "")), "warp")
    assert "slow" in caught.value.hint


def test_all_refusals_are_told(make_shelf):
    shelf = make_shelf(a=(1, True, ""), b=(1, True, "no"), c=(1, False, ""))
    assert refusals(shelf, MODEL, SETTINGS) == {"b": "no", "c": "is not installed"}
