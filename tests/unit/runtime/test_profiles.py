"""Measurements that decide: kept whole, told apart from those that hold no longer."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import msgspec
import pytest

from dimora.core.shelf import Shelf
from dimora.engines import SHELF
from dimora.engines.base import EngineSettings
from dimora.runtime.profiles import Profiles, new_profile, why_stale
from dimora.tasks.base import Model, ModelDetails, ModelSummary
from dimora.tasks.profile import Figures, Profile, typical_seconds

SETTINGS = EngineSettings(scratch_path="")
MODEL = Model(
    summary=ModelSummary(
        name="m", digest="", size_bytes=1, modified_at=0.0, details=ModelDetails()
    ),
    weights_digest="w",
)
FAST = Figures(
    engine="fast", version="1", load_seconds=1.0, read_tokens=1000, read_rate=1000.0,
    written_rate=250.0,
)  # fmt: skip


def profile() -> Profile:
    return new_profile(SHELF, MODEL, SETTINGS, (FAST,), inexact=False)


def test_the_typical_request_is_read_and_written():
    assert typical_seconds(FAST) == pytest.approx(2.0)
    assert typical_seconds(msgspec.structs.replace(FAST, writes=False)) == pytest.approx(1.0)
    assert typical_seconds(msgspec.structs.replace(FAST, written_rate=0.0)) == float("inf")


def test_what_was_kept_is_there_for_the_next_and_can_be_forgotten(tmp_path: Path):
    kept = profile()
    Profiles(tmp_path / "new" / "home").keep("m", kept)
    again = Profiles(tmp_path / "new" / "home")
    assert again.of("m") == kept
    assert again.of("another") is None
    assert again.forget("m") and not again.forget("m")
    assert again.of("m") is None


def test_two_houses_with_one_home_see_and_keep_what_the_other_did(tmp_path: Path):
    one, two = Profiles(tmp_path), Profiles(tmp_path)
    assert one.of("a") is None
    two.keep("a", profile())
    one.keep("b", profile())
    assert one.of("a") and two.of("b")
    two.forget("a")
    assert one.of("a") is None and one.of("b")


def test_the_file_is_for_its_owner_alone(tmp_path: Path):
    Profiles(tmp_path).keep("a", profile())
    assert (tmp_path / "profiles.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"m": 3}', b"\xff\xfe", b"[" * 100_000, b'{"m": {"measured_at": "x"}}'],
)
def test_a_damaged_file_decides_nothing_and_is_written_anew(tmp_path: Path, content: bytes):
    (tmp_path / "profiles.json").write_bytes(content)
    profiles = Profiles(tmp_path)
    assert profiles.of("m") is None
    assert not profiles.forget("m")
    profiles.keep("m", profile())
    assert profiles.of("m")


def test_where_it_cannot_be_stored_that_is_an_error_and_nothing_changes(tmp_path: Path):
    home = tmp_path / "home"
    home.write_text("a file where the home should be")
    profiles = Profiles(home)
    assert profiles.of("m") is None
    with pytest.raises(OSError, match="home"):
        profiles.keep("m", profile())
    assert os.listdir(tmp_path) == ["home"]


def test_the_oldest_are_forgotten_one_day(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("dimora.runtime.profiles._ENTRIES", 2)
    profiles = Profiles(tmp_path)
    for key in ("a", "b", "a", "c"):
        profiles.keep(key, profile())
    assert list(json.loads((tmp_path / "profiles.json").read_bytes())) == ["a", "c"]


ENGINE = """
from dimora.engines.base import Offer
def offer(settings): return Offer(available={available}, version={version!r}, build={build!r})
def refuses(model): return {refuses!r}
def rank(model, settings): return {rank}, ""
"""


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch):
    """Two engines that may run the model, and three that never do."""
    folder = tmp_path / "shelf_of_versions"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    usual = {"available": True, "version": "2", "build": "", "refuses": "", "rank": 50}
    changes = {
        "a": {},
        "b": {"version": "", "build": "7-7"},
        "gone": {"available": False},
        "other": {"refuses": "another format"},
        "pinned": {"rank": 0},
    }
    for name, change in changes.items():
        (folder / f"{name}.py").write_text(ENGINE.format(**usual | change))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Shelf("shelf_of_versions")
    for name in [n for n in sys.modules if n.startswith("shelf_of_versions")]:
        del sys.modules[name]


def test_it_is_of_the_engines_that_may_run_the_model(shelf):
    made = new_profile(shelf, MODEL, SETTINGS, (FAST,), inexact=False)
    assert made.engines == {"a": "2", "b": "7-7"}
    assert why_stale(made, shelf, MODEL, SETTINGS) == ""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"machine": "An abacus, 10 threads"}, "it was another machine"),
        ({"engines": {"a": "1", "b": "7-7"}}, "a is another version"),
        ({"engines": {"a": "2", "b": "7-6"}}, "b is another version"),
        ({"engines": {"a": "2", "b": "7-7", "gone": "1"}}, "gone is not here any more"),
        ({"engines": {"a": "2"}}, "b is new here"),
    ],
)
def test_it_holds_for_that_machine_and_those_engines_alone(shelf, changes, why):
    made = new_profile(shelf, MODEL, SETTINGS, (FAST,), inexact=False)
    assert why_stale(msgspec.structs.replace(made, **changes), shelf, MODEL, SETTINGS) == why


def test_another_llama_server_ends_it():
    server = EngineSettings(
        scratch_path="", llama_server_path="/somewhere", llama_server_build="1-2-3"
    )
    made = new_profile(SHELF, MODEL, server, (FAST,), inexact=False)
    assert why_stale(made, SHELF, MODEL, server) == ""
    newer = msgspec.structs.replace(server, llama_server_build="1-2-4")
    assert why_stale(made, SHELF, MODEL, newer) == "llama_cpp is another version"
