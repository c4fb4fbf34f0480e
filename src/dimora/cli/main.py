"""The program `dimora`: finds its commands on the shelf, and turns errors into words and codes.

Exit codes: 0 fine, 1 an error, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import ast
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from dimora import __version__
from dimora.cli.words import print_error
from dimora.core.errors import DimoraError
from dimora.core.shelf import Shelf
from dimora.storage.disk import disk_errors

COMMANDS = Shelf("dimora.cli.commands")
ALIASES = {"ls": "list", "start": "serve"}
INTERRUPTED = 130


class LazyGroup(click.Group):
    """A command is imported when it runs; its line of help is read from its file."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name.replace("_", "-") for name in COMMANDS.names()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in self.list_commands(ctx):
            return None
        command = COMMANDS.load(file_name(name)).command
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, first_line(name)) for name in self.list_commands(ctx)])


def file_name(command: str) -> str:
    """The name on the shelf of what is typed with dashes."""
    return command.replace("-", "_")


def first_line(name: str, shelf: Shelf | None = None) -> str:
    """What a command (or what is on another shelf) does, from its docstring, without importing."""
    spec = find_spec(f"{(shelf or COMMANDS).package}.{file_name(name)}")
    if spec is None or spec.origin is None:
        return ""
    docstring = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True
)
@click.version_option(__version__, "-v", "--version", message="dimora version %(version)s")
def program() -> None:
    """The private home for language models: run them here, and nowhere else."""


def main(arguments: list[str] | None = None) -> None:
    """Run and exit. A reader of our output who has enough (`head`) is no error: click sees it."""
    try:
        with disk_errors("the home"):
            result: Any = program.main(arguments, standalone_mode=False)
        sys.exit(result if isinstance(result, int) else 0)
    except DimoraError as error:
        print_error(error)
        sys.exit(1)
    except click.exceptions.NoArgsIsHelpError as usage:
        usage.show()
        sys.exit(0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
