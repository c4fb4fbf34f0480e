from __future__ import annotations

import json

import click
import pytest

from dimora.cli.commands.run import _options, _schema, command
from dimora.cli.main import program
from dimora.core.errors import BadRequest


def read(*arguments: str) -> dict:
    parent = click.Context(program, **program.context_settings)
    return command.make_context("run", list(arguments), parent=parent).params


@pytest.mark.parametrize(
    ("arguments", "think", "prompt"),
    [
        (["m", "--think", "Why is the sky blue?"], "true", ("Why is the sky blue?",)),
        (["m", "--think=high", "Why?"], "high", ("Why?",)),
        (["--think", "m", "Why?"], "true", ("Why?",)),
        (["m", "Why?"], None, ("Why?",)),
        (["m", "--", "--think"], None, ("--think",)),
    ],
)
def test_think_takes_a_value_only_after_an_equals_sign(arguments, think, prompt):
    params = read(*arguments)
    assert (params["model"], params["think"], params["prompt"]) == ("m", think, prompt)


def test_a_level_nobody_knows_is_wrong_usage():
    with pytest.raises(click.BadParameter):
        read("m", "--think=purple")


def test_options_are_read_as_their_types_and_stops_are_gathered():
    options = _options(("temperature=0.2", "stop=a", "stop=b", "num_ctx=512"), "echo")
    assert options.as_dict() == {
        "engine": "echo",
        "num_ctx": 512,
        "temperature": 0.2,
        "stop": ("a", "b"),
    }


@pytest.mark.parametrize("pair", ["temperature", "colour=red", "num_ctx=many"])
def test_an_option_that_is_none_is_refused(pair):
    with pytest.raises(BadRequest):
        _options((pair,), None)


def test_a_format_is_json_a_schema_or_its_file(tmp_path):
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(schema))
    assert _schema(None) is None
    assert _schema("json") == {"type": "object"}
    assert _schema(str(path)) == schema
    assert _schema(json.dumps(schema)) == schema


@pytest.mark.parametrize("form", ["yaml", "{not json", "nofile.json"])
def test_another_format_is_refused(form):
    with pytest.raises(BadRequest):
        _schema(form)
