from __future__ import annotations

import sys

import pytest

from dimora.core.errors import UnsupportedFeature
from dimora.core.shelf import Shelf
from dimora.engines.base import FAITHFUL_RANK, EngineSettings
from dimora.runtime.engine_choice import choose_engine, refusals
from dimora.tasks.base import Model, ModelDetails, ModelSummary
from dimora.tasks.profile import Figures, Profile

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


def figures(engine: str, seconds: float, **more) -> Figures:
    """Of an engine that takes so long for a typical request, half of it to read."""
    rates = {"read_rate": 2000 / seconds, "written_rate": 500 / seconds}
    return Figures(
        **{"engine": engine, "version": "1", "load_seconds": 1.0, "read_tokens": 1000}
        | rates
        | more
    )


def measured(*found: Figures, **more) -> Profile:
    return Profile(measured_at=1763900000.0, machine="", engines={}, figures=found, **more)


def choose_by(shelf, profile, pinned=""):
    return choose_engine(
        shelf, MODEL, SETTINGS, pinned=pinned, pinned_by="the request", profile=profile
    )


def test_where_it_was_measured_the_fastest_wins_and_says_when(make_shelf):
    shelf = make_shelf(a=(90, True, ""), b=(40, True, ""))
    choice = choose_by(shelf, measured(figures("a", 9.84), figures("b", 1.9)))
    assert choice.engine == "b"
    assert choice.reason.startswith("measured 23 Nov 2025: 1.9 s to read 1000 tokens")
    assert choice.reason.endswith("a 9.84 s")


def test_an_engine_that_does_not_load_it_exactly_is_not_chosen_by_speed(make_shelf):
    shelf = make_shelf(a=(90, True, ""), b=(FAITHFUL_RANK - 1, True, ""))
    found = (figures("a", 9), figures("b", 1))
    assert choose_by(shelf, measured(*found)).engine == "a"
    assert "b" not in choose_by(shelf, measured(*found)).reason.split()
    assert choose_by(shelf, measured(*found, inexact=True)).engine == "b"


def test_one_that_is_only_pinned_or_refuses_by_now_is_not_chosen(make_shelf):
    shelf = make_shelf(a=(90, True, ""), b=(0, True, ""), c=(80, True, "no"), d=(70, False, ""))
    found = [figures(name, seconds) for name, seconds in zip("abcd", (9, 1, 1, 1), strict=True)]
    assert choose_by(shelf, measured(*found, inexact=True)).engine == "a"


def test_one_whose_writing_was_not_timed_is_not_chosen_and_an_embedder_need_not_write(make_shelf):
    shelf = make_shelf(a=(90, True, ""), b=(80, True, ""))
    silent = figures("b", 1, written_rate=0.0)
    assert choose_by(shelf, measured(figures("a", 9), silent)).engine == "a"
    embedder = figures("b", 1, written_rate=0.0, writes=False)
    choice = choose_by(shelf, measured(figures("a", 9), embedder))
    assert choice.engine == "b" and "write" not in choice.reason


def test_a_measurement_that_holds_no_longer_leaves_the_usual_rule_and_says_why(make_shelf):
    shelf = make_shelf(a=(90, True, ""), b=(40, True, ""))
    stale = measured(figures("a", 9), figures("b", 1), stale="b is another version")
    choice = choose_by(shelf, stale)
    assert choice.engine == "a"
    assert choice.reason == (
        "because a; the measurement of 23 Nov 2025 holds no longer: b is another version"
    )


def test_a_pin_is_above_what_was_measured(make_shelf):
    shelf = make_shelf(a=(90, True, ""), b=(40, True, ""))
    choice = choose_by(shelf, measured(figures("a", 9), figures("b", 1)), "a")
    assert (choice.engine, choice.reason) == ("a", "pinned by the request")


def test_figures_of_engines_that_are_gone_change_nothing(make_shelf):
    shelf = make_shelf(a=(90, True, ""))
    assert choose_by(shelf, measured(figures("gone", 1))).reason == "because a"
