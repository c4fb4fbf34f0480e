"""Every kind of tool has the shape that the toolbox relies on."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from dimora.core.errors import ConfigurationError
from dimora.core.settings import load_settings
from dimora.core.tool_tables import ToolTable
from dimora.prompts.schema import check_schema
from dimora.tools import SHELF
from dimora.tools.base import Source
from dimora.tools.toolbox import Toolbox

EXAMPLE = Path(__file__).parents[2] / "examples" / "home-automation" / "dimora.toml"


@pytest.fixture(params=SHELF.names())
def kind(request) -> str:
    return request.param


@pytest.fixture
def example(kind) -> ToolTable:
    """A table of this kind, from the example that people start with."""
    settings, _ = load_settings(environ={"DIMORA_CONFIG": str(EXAMPLE)})
    return next(table for table in settings.tools if table.kind == kind)


def test_the_example_has_a_table_that_becomes_a_source(example):
    source = SHELF.load(example.kind).read(example)
    for name in ("tools", "call"):
        assert inspect.iscoroutinefunction(getattr(source, name))
        assert list(inspect.signature(getattr(source, name)).parameters) == [
            p for p in inspect.signature(getattr(Source, name)).parameters if p != "self"
        ]
    assert isinstance(source.foreign, bool)


async def test_what_it_offers_itself_has_a_schema_that_a_model_can_be_held_to(example):
    source = SHELF.load(example.kind).read(example)
    if not source.foreign:
        (tool,) = await source.tools()
        assert tool.name == ""
        assert tool.description
        check_schema(tool.parameters)


def test_a_key_that_it_does_not_know_stops_the_start_by_name(kind):
    table = ToolTable(kind=kind, name="x", values={"no_such_key": 1})
    with pytest.raises(ConfigurationError) as caught:
        Toolbox((table,))
    assert "'x'" in caught.value.message
    assert "no_such_key" in caught.value.message or "missing" in caught.value.message


def test_an_empty_table_stops_the_start(kind):
    with pytest.raises(ConfigurationError):
        Toolbox((ToolTable(kind=kind, name="x"),))


def test_a_kind_that_there_is_not_stops_the_start():
    with pytest.raises(ConfigurationError, match="no kind 'shell'"):
        Toolbox((ToolTable(kind="shell", name="x"),))
