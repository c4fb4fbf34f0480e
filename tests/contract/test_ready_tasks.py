"""Every ready task on the shelf has the shape that terminal, HTTP and reference rely on."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from dimora import tasks
from dimora.cli.main import program
from dimora.core.languages import LANGUAGES
from dimora.core.types import Request
from dimora.tasks.ready.base import (
    COMMON,
    ReadyRequest,
    fields_of,
    request_of,
    result_schema,
)

NAMES = tasks.READY.names()
PAGE = (Path(__file__).parents[2] / "docs/reference/tasks.md").read_text(encoding="utf-8")


@pytest.fixture(params=NAMES)
def name(request) -> str:
    return request.param


@pytest.fixture
def task(name):
    return tasks.READY.load(name)


def test_no_ready_task_has_the_name_of_another_task():
    assert not set(NAMES) & set(tasks.SHELF.names())


def test_it_has_one_request_tagged_with_the_files_name(task, name):
    found = [
        v
        for v in vars(task).values()
        if isinstance(v, type) and issubclass(v, Request) and v.__module__ == task.__name__
    ]
    assert found == [request_of(task)]
    assert issubclass(found[0], ReadyRequest)
    assert found[0].__struct_config__.tag == name
    assert found[0].__struct_config__.frozen
    assert task.RIGHT == "use"
    assert inspect.isasyncgenfunction(task.run)


def test_it_speaks_three_languages_and_says_the_same_in_each(task):
    assert set(task.WORDS) == set(LANGUAGES)
    first, *others = (task.WORDS[language] for language in LANGUAGES)
    for other in others:
        assert set(other) == set(first)
        for key, words in other.items():
            assert words.strip()
            # A place to fill is there in every language, or in none.
            assert sorted(re.findall(r"{\w+}", words)) == sorted(re.findall(r"{\w+}", first[key]))


def test_every_field_says_what_it_is(task):
    for field in fields_of(task):
        assert field.help.endswith("."), field.name
        assert field.name not in COMMON
    first = fields_of(task)[0]
    assert first.kind in ("text", "texts")
    assert first.required


def test_its_result_has_a_valid_schema(task):
    Draft202012Validator.check_schema(result_schema(task))


def test_its_example_is_a_request_of_its_own(task, name):
    request = msgspec.convert({**task.EXAMPLE, "request": name, "model": "m"}, request_of(task))
    assert isinstance(request, ReadyRequest)
    back = msgspec.msgpack.decode(msgspec.msgpack.encode(request), type=type(request))
    assert back == request


def test_the_reference_has_its_page(name):
    assert f"\n## {name.replace('_', '-')}\n" in PAGE


def test_the_terminal_makes_a_command_of_it_that_explains_every_option(task, name):
    shown = name.replace("_", "-")
    result = CliRunner().invoke(program, ["do", shown, "--help"])
    assert result.exit_code == 0, result.output
    group = program.get_command(click.Context(program), "do")
    command = group.get_command(click.Context(group), shown)
    options = [p for p in command.params if isinstance(p, click.Option)]
    assert all(option.help for option in options)
    names = [option.name for option in options]
    assert len(names) == len(set(names))
    assert {f.name for f in fields_of(task)[1:]} <= set(names)


def test_the_terminal_lists_it():
    listed = CliRunner().invoke(program, ["do", "--help"]).output
    assert all(name.replace("_", "-") in listed for name in NAMES)


def test_its_line_of_help_is_a_sentence(task):
    line = task.__doc__.partition("\n")[0]
    assert line.endswith(".")
    assert len(line) < 90


EXAMPLES = Path(__file__).parents[2] / "examples/tasks"
LINES = re.findall(
    r"^\| ([\w-]+) \| `dimora (.+)` \|$",
    (EXAMPLES / "README.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)


def test_it_has_a_line_to_try_it_with(name):
    assert name.replace("_", "-") in [task for task, _ in LINES]


@pytest.mark.parametrize(("shown", "line"), LINES, ids=[line for _, line in LINES])
def test_a_line_of_the_examples_is_a_request_with_files_that_are_there(shown, line, monkeypatch):
    monkeypatch.chdir(EXAMPLES)
    do, given, *arguments = shlex.split(line)
    assert (do, given) == ("do", shown)
    group = program.get_command(click.Context(program), "do")
    command = group.get_command(click.Context(group), shown)
    flags = command.make_context(shown, list(arguments)).params
    named = [flags["_file"], flags["_in"]]
    named += [Path(value[1:]) for value in flags.values() if str(value).startswith("@")]
    assert all(path.exists() for path in named if path is not None)
    task = tasks.READY.load(shown.replace("-", "_"))
    for field in fields_of(task)[1:]:
        assert not field.required or flags[field.name] not in (None, ()), field.name
