"""A forced call is one call of a given tool, in the words its model knows."""

from __future__ import annotations

import json

import pytest

from dimora.core.errors import BadRequest, InternalError
from dimora.core.types import Tool
from dimora.prompts.forcing import force_call, read_forced
from dimora.prompts.reading import AnswerReader, CallOut
from dimora.prompts.schema import check_schema, violation
from tests.unit.prompts.templates import WEATHER

TREE = Tool(
    "grow",
    "",
    {
        "properties": {"root": {"$ref": "#/$defs/Node"}, "self": {"$ref": "#"}},
        "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
    },
)


@pytest.mark.parametrize(
    ("tool_format", "prefill", "key"),
    [
        ("hermes", "<tool_call>\n", "arguments"),
        ("llama3_json", "", "parameters"),
        ("mistral", "[TOOL_CALLS] [", "arguments"),
        ("qwen3_coder", "<tool_call>\n", "arguments"),
        ("", "", "arguments"),
        ("unknown", "", "arguments"),
    ],
)
def test_the_call_is_written_in_the_models_own_format(tool_format, prefill, key):
    forced = force_call(tool_format, [WEATHER])
    assert forced.prefill == prefill
    call = json.dumps({"name": "get_weather", key: {"city": "Oslo"}})
    assert violation(call, forced.json_schema) == ""
    assert read_forced(tool_format, call) == ("get_weather", {"city": "Oslo"})


@pytest.mark.parametrize(
    "call",
    [
        {"name": "get_weather", "arguments": {}},
        {"name": "other", "arguments": {"city": "Oslo"}},
        {"name": "get_weather", "arguments": {"city": "Oslo"}, "more": 1},
        {"name": "get_weather"},
        [],
    ],
)
def test_the_schema_leaves_no_way_around(call):
    assert violation(json.dumps(call), force_call("hermes", [WEATHER]).json_schema) != ""


def test_a_named_tool_is_the_only_one():
    schema = force_call("hermes", [WEATHER, Tool("other")], "other").json_schema
    assert violation('{"name": "other", "arguments": {}}', schema) == ""
    assert violation('{"name": "get_weather", "arguments": {"city": "O"}}', schema) != ""


def test_arguments_belong_to_their_own_tool():
    schema = force_call("hermes", [WEATHER, TREE]).json_schema
    assert violation('{"name": "grow", "arguments": {"root": {"next": {}}}}', schema) == ""
    assert violation('{"name": "get_weather", "arguments": {"root": {}}}', schema) != ""
    assert violation('{"name": "grow", "arguments": {"root": {"next": 1}}}', schema) != ""
    assert violation('{"name": "grow", "arguments": {"self": {"root": 1}}}', schema) != ""


def test_definitions_of_two_tools_do_not_meet():
    one = Tool(
        "one", "", {"properties": {"x": {"$ref": "#/$defs/X"}}, "$defs": {"X": {"const": 1}}}
    )
    two = Tool(
        "two", "", {"properties": {"x": {"$ref": "#/$defs/X"}}, "$defs": {"X": {"const": 2}}}
    )
    schema = force_call("", [one, two]).json_schema
    assert violation('{"name": "two", "arguments": {"x": 2}}', schema) == ""
    assert violation('{"name": "two", "arguments": {"x": 1}}', schema) != ""


def test_the_schema_of_a_forced_call_is_one_that_engines_accept():
    check_schema(force_call("hermes", [WEATHER, TREE, Tool("bare")]).json_schema)


def test_a_tool_whose_parameters_cannot_be_enforced_is_refused_by_name():
    with pytest.raises(BadRequest, match="'odd'") as caught:
        force_call("hermes", [Tool("odd", "", {"not": {}})])
    assert caught.value.code == "unsupported_schema"
    assert caught.value.param == "tools"


def test_a_tool_that_is_not_there_is_refused():
    with pytest.raises(BadRequest):
        force_call("hermes", [WEATHER], "other")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": 1, "arguments": {}}', '{"name": "f"}'])
def test_what_is_no_call_is_a_defect(text):
    with pytest.raises(InternalError):
        read_forced("hermes", text)


@pytest.mark.parametrize(
    "tool_format", ["hermes", "mistral", "llama3_json", "qwen3_coder", "bare_json"]
)
def test_a_model_would_have_written_the_same_by_itself(tool_format):
    forced = force_call(tool_format, [Tool("f")])
    key = "parameters" if tool_format == "llama3_json" else "arguments"
    text = forced.prefill + json.dumps({"name": "f", key: {"a": 1}})
    text += "]" if text.count("[") > text.count("]") else ""
    reader = AnswerReader(
        thinking=None, thought_open=False, tool_format=tool_format, tool_names=frozenset({"f"})
    )
    assert [*reader.feed(text), *reader.finish()] == [CallOut("f", {"a": 1})]
