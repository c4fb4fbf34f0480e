"""Every conversion has the shape its caller relies on, and refuses what it does not read."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from dimora.core.errors import DimoraError
from dimora.models.converting.conversions import SHELF
from dimora.models.converting.convert_file import convert_file


@pytest.fixture(params=SHELF.names())
def name(request) -> str:
    return request.param


def test_it_makes_a_target_of_a_source_and_takes_choices_by_name(name):
    source, target, *choices = inspect.signature(SHELF.load(name).convert).parameters.values()
    assert (source.name, target.name) == ("source", "target")
    assert all(choice.kind is inspect.Parameter.KEYWORD_ONLY for choice in choices)
    assert all(choice.annotation == "str" for choice in choices), "they come as text"


async def test_what_it_does_not_read_is_refused_and_nothing_is_made(name, tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"neither weights nor words\n" * 100)
    parameters = list(inspect.signature(SHELF.load(name).convert).parameters.values())[2:]
    choices = {p.name: str(source) for p in parameters if p.default is p.empty}
    with pytest.raises(DimoraError) as refused:
        await convert_file(name, source, target, **choices)
    # Not what `convert_file` says of errors nobody foresaw.
    assert " failed: " not in refused.value.message
    assert str(tmp_path) not in refused.value.text
    assert not target.exists()
