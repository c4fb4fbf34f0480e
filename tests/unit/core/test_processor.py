"""What Linux says of a processor is read, and where it says nothing nothing is guessed."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from dimora.core import processor

MILAN = "processor\t: 0\nmodel name\t: Some 7003\nflags\t\t: fpu sse2 avx avx2 fma vaes\n"
ICE = MILAN.replace("avx2", "avx2 avx512_vnni")


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def tell(text: str) -> None:
        file = tmp_path / f"cpuinfo{len(list(tmp_path.iterdir()))}"
        file.write_text(text)
        monkeypatch.setattr(processor, "_CPU_FACTS", file)

    return tell


def test_the_name_and_the_extensions_are_those_of_the_first_processor(told) -> None:
    told(MILAN)
    assert processor.processor_name().startswith("Some 7003, ")
    assert {"avx2", "fma", "sse2"} <= set(processor.processor_features().split())
    assert "fpu" not in processor.processor_features().split()


def test_no_program_is_started_for_a_name_that_the_system_tells(told, monkeypatch) -> None:
    def ask() -> str:
        pytest.fail("Python starts `uname` for this")

    monkeypatch.setattr(platform, "processor", ask)
    told(MILAN)
    assert processor.processor_name().startswith("Some 7003, ")


def test_without_vnni_bytes_are_not_multiplied(told) -> None:
    told(MILAN)
    assert not processor.multiplies_bytes()
    told(ICE)
    assert processor.multiplies_bytes()


def test_where_nothing_is_told_the_processor_is_taken_for_able(told) -> None:
    told("")
    assert processor.multiplies_bytes() and not processor.has_amx()
    assert processor.processor_name()


def test_only_cores_that_may_be_used_are_counted(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(processor, "_QUOTA", tmp_path / "none")
    mine = sorted(os.sched_getaffinity(0))
    everything = processor.usable_cores()
    assert 1 <= everything <= len(mine)
    try:
        os.sched_setaffinity(0, mine[:1])
        assert processor.usable_cores() == 1
    finally:
        os.sched_setaffinity(0, mine)
    monkeypatch.setattr("psutil.cpu_count", lambda logical: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(64))
    for told, cores in (("max 100000\n", 64), ("250000 100000\n", 3), ("50000 100000\n", 1)):
        (tmp_path / "quota").write_text(told)
        monkeypatch.setattr(processor, "_QUOTA", tmp_path / "quota")
        assert processor.usable_cores() == cores
