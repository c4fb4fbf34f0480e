from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from dimora.cli import main as program_file
from dimora.cli.main import main, program
from dimora.core.errors import NotFound
from dimora.core.shelf import Shelf

# Modules that cost start-up time, and that help has no use for.
HEAVY = ("asyncio", "rich", "prompt_toolkit", "httpx2", "jinja2", "numpy", "gguf", "starlette")


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A shelf of commands with one file, which says when it is imported."""
    package = tmp_path / "commands_for_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "wipe_all.py").write_text(
        '"""Wipe everything.\n\nMore words."""\n\nimport click\n\nprint("imported")\n\n\n'
        "@click.command()\ndef command():\n    click.echo('wiped')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(program_file, "COMMANDS", Shelf("commands_for_test"))


def test_help_tells_a_new_command_without_importing_it(shelf):
    result = CliRunner().invoke(program, ["--help"])
    assert "wipe-all  Wipe everything." in result.output
    assert "imported" not in result.output


def test_a_new_file_is_a_new_command_with_dashes_in_its_name(shelf):
    assert CliRunner().invoke(program, ["wipe-all"]).output.endswith("wiped\n")
    assert CliRunner().invoke(program, ["wipe_all"]).exit_code == 2


@pytest.mark.parametrize(("alias", "name"), [("ls", "list"), ("start", "serve")])
def test_aliases_are_the_commands_they_stand_for(alias, name):
    context = click.Context(program)
    assert program.get_command(context, alias) is program.get_command(context, name)


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom dimora.cli.main import main\n"
        "try:\n    main(['--help'])\nfinally:\n    print(*sys.modules, file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert "Commands:" in result.stdout
    assert not set(HEAVY) & set(result.stderr.split())


@pytest.mark.parametrize(
    ("raised", "code", "told"),
    [
        (NotFound("model 'x' not found", hint="dimora pull x"), 1, "Error: model 'x' not found"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_become_words_and_exit_codes(monkeypatch, capsys, raised, code, told):
    def fail(*_, **__):
        raise raised

    monkeypatch.setattr(program, "main", fail)
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == code
    assert capsys.readouterr().err.startswith(told)


def test_a_reader_who_has_enough_sees_no_complaint():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        result = subprocess.run(
            [sys.executable, "-m", "dimora", "--help"],
            stdout=closed,
            stderr=subprocess.PIPE,
            check=False,
            timeout=30,
        )
    assert result.stderr == b""
