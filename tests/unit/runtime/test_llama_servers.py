"""The llama-server of the settings comes first, then the toolchain's, then one on PATH; old ones
are refused with the reason."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from dimora.core.processor import processor_features
from dimora.core.settings import Settings
from dimora.engines import llama_cpp
from dimora.engines.base import EngineSettings
from dimora.models.toolchain.installed import STAMP, Minimum, Stamp, read_pin
from dimora.runtime.llama_servers import LlamaServers, why_too_old

MINIMUM = Minimum(build=10830, version="0.5.0")
NEW = "version: 0.5.1 (build 12000, commit abc)"
OLD = "version: 6690 (1d0125b)"


def program(path: Path, told: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\necho "{told}" >&2\n')
    path.chmod(0o755)
    return path


def install(home: Path) -> Path:
    directory = home / "toolchain" / read_pin().version
    server = program(directory / "bin" / "llama-server", NEW)
    stamp = Stamp(version="1", commit="abc", processor=processor_features(), way="native")
    (directory / STAMP).write_bytes(msgspec.json.encode(stamp))
    return server


@pytest.mark.parametrize(
    ("told", "fits"),
    [
        ("version: 10830 (0c1e570)", True),
        ("version: 10829 (0c1e570)", False),
        (NEW, True),
        ("version: 0.4.9 (build 9000, commit abc)", False),
        ("version: 0.5.0-dev (build 1, commit 0c1e570)", True),
        ("version: 0.4.2-dev (build 0, commit 0c1e570)", False),
        ("version: 1 (unknown)", False),
        ("hello", False),
        ("", False),
    ],
)
def test_a_build_is_judged_by_its_number_or_its_version(told: str, fits: bool):
    assert (why_too_old(told, MINIMUM) == "") is fits


def test_the_toolchain_is_found_as_soon_as_it_is_there(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    servers = LlamaServers(Settings(home=tmp_path))
    assert servers.find().path == ""
    server = install(tmp_path)
    assert (servers.find().path, servers.find().named_by) == (str(server), "the toolchain")


def test_the_settings_come_before_the_toolchain_and_path_after_it(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("PATH", str(program(tmp_path / "bin" / "llama-server", NEW).parent))
    assert LlamaServers(Settings(home=tmp_path)).find().named_by == "PATH"
    server = install(tmp_path)
    assert LlamaServers(Settings(home=tmp_path)).find().path == str(server)
    own = program(tmp_path / "own", NEW)
    found = LlamaServers(Settings(home=tmp_path, llama_server=str(own))).find()
    assert (found.path, found.named_by) == (str(own), "the settings")
    assert LlamaServers(Settings(home=tmp_path, llama_server="none")).find().path == ""


def test_an_old_one_is_refused_until_it_is_replaced(tmp_path: Path, monkeypatch):
    own = program(tmp_path / "bin" / "llama-server", OLD)
    monkeypatch.setenv("PATH", f"{own.parent}:/bin:/usr/bin")
    servers = LlamaServers(Settings(home=tmp_path))
    assert servers.find().path == ""
    assert servers.find().refused == (
        "the llama-server of PATH is build 6690; 10830 or newer is needed"
    )
    program(own, NEW)
    assert servers.find().path == str(own)


def test_one_of_the_settings_that_is_not_there_stops_the_engine(tmp_path: Path):
    found = LlamaServers(Settings(home=tmp_path, llama_server=str(tmp_path / "gone"))).find()
    settings = EngineSettings(
        scratch_path="",
        llama_server_path=found.path,
        llama_server_from=found.named_by,
        llama_server_refused=found.refused,
    )
    offer = llama_cpp.offer(settings)
    assert not offer.available
    assert "the llama-server of the settings is not there" in offer.reason


def test_an_old_one_on_path_leaves_the_built_in_server_and_says_so(small_model):
    settings = EngineSettings(
        scratch_path="",
        llama_server_from="PATH",
        llama_server_refused="the llama-server of PATH is build 1",
    )
    assert llama_cpp.offer(settings).available
    rank, reason = llama_cpp.rank(small_model, settings)
    assert rank == 40
    assert "PATH is build 1" in reason


@pytest.fixture
def small_model():
    from dimora.tasks.base import Model, ModelDetails, ModelSummary

    summary = ModelSummary(
        name="tiny", digest="0" * 64, size_bytes=1, modified_at=0.0, details=ModelDetails()
    )
    return Model(summary=summary, weights_digest="sha256:" + "0" * 64)
