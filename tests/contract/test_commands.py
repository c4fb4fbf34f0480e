"""Every command on the shelf is a command, says what it does, and helps."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from dimora.cli.main import COMMANDS, first_line, program


@pytest.fixture(params=COMMANDS.names())
def name(request) -> str:
    return request.param


def test_its_module_holds_a_command(name):
    assert isinstance(COMMANDS.load(name).command, click.Command)


def test_its_line_of_help_is_short_and_a_sentence(name):
    line = first_line(name)
    assert line.endswith(".")
    assert len(line) < 60


def test_its_help_works_and_explains_every_option(name):
    result = CliRunner().invoke(program, [name.replace("_", "-"), "--help"])
    assert result.exit_code == 0, result.output
    options = [p for p in COMMANDS.load(name).command.params if isinstance(p, click.Option)]
    assert all(option.help for option in options)


def test_what_lists_or_shows_can_do_so_as_json(name):
    if name in ("list", "ps", "show", "run"):
        names = {o for p in COMMANDS.load(name).command.params for o in p.opts}
        assert "--json" in names


def test_wrong_usage_is_code_two(name):
    result = CliRunner().invoke(program, [name.replace("_", "-"), "--no-such-option"])
    assert result.exit_code == 2
