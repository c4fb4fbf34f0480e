"""What Linux says of a processor is read, and where it says nothing nothing is guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from dimora.core import processor

MILAN = "processor\t: 0\nmodel name\t: Some 7003\nflags\t\t: fpu sse2 avx avx2 fma vaes\n"
ICE = MILAN.replace("avx2", "avx2 avx512_vnni")


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def tell(text: str) -> None:
        (tmp_path / "cpuinfo").write_text(text)
        monkeypatch.setattr(processor, "_CPU_FACTS", tmp_path / "cpuinfo")

    return tell


def test_the_name_and_the_extensions_are_those_of_the_first_processor(told) -> None:
    told(MILAN)
    assert processor.processor_name().startswith("Some 7003, ")
    assert {"avx2", "fma", "sse2"} <= set(processor.processor_features().split())
    assert "fpu" not in processor.processor_features().split()


def test_without_vnni_bytes_are_not_multiplied(told) -> None:
    told(MILAN)
    assert not processor.multiplies_bytes()
    told(ICE)
    assert processor.multiplies_bytes()


def test_where_nothing_is_told_the_processor_is_taken_for_able(told) -> None:
    told("")
    assert processor.multiplies_bytes() and not processor.has_amx()
    assert processor.processor_name()
