"""A toolchain counts as installed when its stamp is there and its processor is this one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec
import pytest

from dimora.core.errors import Conflict, NotFound
from dimora.core.processor import processor_features
from dimora.models.remote.access import SourceAccess
from dimora.models.toolchain import building as toolchain_build
from dimora.models.toolchain.building import find_tools, ways
from dimora.models.toolchain.installed import (
    STAMP,
    Stamp,
    find_toolchain,
    installing,
    read_pin,
    remove_toolchain,
    require_toolchain,
    state_of,
)
from dimora.models.toolchain.installing import Installation


def stamped(root: Path, version: str = "", processor: str | None = None) -> Path:
    directory = root / (version or read_pin().version)
    (directory / "bin").mkdir(parents=True)
    stamp = Stamp(
        version=directory.name,
        commit="abc",
        processor=processor_features() if processor is None else processor,
        way="native",
        built_at=1.0,
    )
    (directory / STAMP).write_bytes(msgspec.json.encode(stamp))
    return directory


def test_nothing_is_installed_before_the_stamp_is_there(tmp_path: Path):
    (tmp_path / read_pin().version / "bin").mkdir(parents=True)
    assert find_toolchain(tmp_path) is None
    assert state_of(tmp_path).state == "begun"
    assert state_of(tmp_path / "other").state == "not installed"


def test_a_stamp_that_cannot_be_read_is_none(tmp_path: Path):
    (stamped(tmp_path) / STAMP).write_bytes(b'{"version": ')
    assert find_toolchain(tmp_path) is None


def test_an_installed_one_is_found_and_told(tmp_path: Path):
    directory = stamped(tmp_path)
    found = require_toolchain(tmp_path, "this")
    assert found.program("llama-server").parent == directory / "bin"
    assert state_of(tmp_path).state == "installed"
    assert "llama-quantize" in state_of(tmp_path).programs


def test_one_for_a_processor_that_can_more_is_not_run(tmp_path: Path):
    stamped(tmp_path, processor=f"{processor_features()} avx9000")
    assert find_toolchain(tmp_path) is None
    assert state_of(tmp_path).state == "for another processor"


def test_the_wanted_version_comes_before_others_which_are_better_than_none(tmp_path: Path):
    old = stamped(tmp_path, "0.0.1")
    assert require_toolchain(tmp_path, "this").root == old
    new = stamped(tmp_path)
    assert require_toolchain(tmp_path, "this").root == new


def test_without_one_the_error_says_how_to_get_it(tmp_path: Path):
    with pytest.raises(NotFound, match="quantizing to Q4_K_M needs") as error:
        require_toolchain(tmp_path, "quantizing to Q4_K_M")
    assert "dimora toolchain install" in error.value.hint


def test_removing_leaves_nothing_and_says_whether_there_was_something(tmp_path: Path):
    stamped(tmp_path)
    assert remove_toolchain(tmp_path)
    assert find_toolchain(tmp_path) is None
    assert not remove_toolchain(tmp_path)
    assert not remove_toolchain(tmp_path / "nowhere")


async def test_one_installation_at_a_time(tmp_path: Path):
    stamped(tmp_path)
    with installing(tmp_path):
        with pytest.raises(Conflict):
            remove_toolchain(tmp_path)
        with pytest.raises(Conflict):
            [step async for step in Installation(tmp_path, SourceAccess()).run()]
    assert [step.status async for step in Installation(tmp_path, SourceAccess()).run()] == [
        "success"
    ]


async def test_missing_tools_are_named_before_anything_is_fetched(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(toolchain_build.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(NotFound, match=r"cmake, a C\+\+ compiler, make or ninja") as error:
        [step async for step in Installation(tmp_path / "root", SourceAccess()).run()]
    assert "apt install" in error.value.hint
    assert not (tmp_path / "root" / read_pin().version).exists()


async def test_a_cmake_that_is_too_old_is_refused(tmp_path: Path, monkeypatch):
    for name, words in (("cmake", "cmake version 3.10.2"), ("g++", ""), ("make", "")):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho {words}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    with pytest.raises(NotFound, match=r"cmake 3\.19"):
        await find_tools()


def test_ways_begin_with_the_fastest_and_end_with_the_one_for_all():
    names = [way.name for way in ways()]
    assert names[0] == "native"
    assert names[-1] == "portable"
    assert [way.is_native for way in ways()][-1] is False
