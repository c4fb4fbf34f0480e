"""Do a ready task with a text, or with many."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from dimora.cli.asking import door_here, pull_if_missing, settings_here
from dimora.cli.main import file_name, first_line
from dimora.cli.reading import text_of
from dimora.cli.words import dim, harmless, print_json
from dimora.core.errors import BadRequest
from dimora.core.types import Done, Progress
from dimora.tasks.ready import SHELF

if TYPE_CHECKING:
    from dimora.cli.door import Door
    from dimora.tasks.ready.base import Field, ReadyRequest


class Jobs(click.Group):
    """The ready tasks as commands; one is imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name.replace("_", "-") for name in SHELF.names()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = file_name(cmd_name)
        return _command_of(name, SHELF.load(name)) if name in SHELF.names() else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        lines = [(n, first_line(n, SHELF)) for n in self.list_commands(ctx)]
        with formatter.section("Tasks"):
            formatter.write_dl(lines)


@click.group(cls=Jobs, no_args_is_help=True, subcommand_metavar="TASK [TEXT]... [OPTIONS]")
def command() -> None:
    """Do a ready task: with a text, a file, or with every file of a folder or row of a table.

    `dimora do TASK --help` tells its options, `--example` shows it at work.
    """


def _command_of(name: str, task: ModuleType) -> click.Command:
    from dimora.tasks.ready.base import fields_of, request_of

    main, *others = fields_of(task)
    shown = name.replace("_", "-")
    help_text = f"{(task.__doc__ or '').strip()}\n\n{(request_of(task).__doc__ or '').strip()}"
    params: list[click.Parameter] = [click.Argument(["words"], nargs=-1, metavar="[TEXT]...")]
    params += [_option_of(field) for field in others]
    params += _common_options(main)

    def callback(**flags: Any) -> int:
        return _do(name, task, flags)

    return click.Command(shown, callback=callback, params=params, help=help_text)


def _option_of(field: Field) -> click.Option:
    # What a field must have is asked of the request as a whole: the example and a table bring it.
    dashed = f"--{field.name.replace('_', '-')}"
    if field.kind == "flag":
        return click.Option([dashed, field.name], is_flag=True, default=None, help=field.help)
    kinds: dict[str, Any] = {"integer": int, "number": float}
    kind = click.Choice(field.choices) if field.choices else kinds.get(field.kind, str)
    return click.Option(
        [dashed, field.name],
        type=kind,
        multiple=field.kind == "texts",
        help=field.help + (" Repeat it for more." if field.kind == "texts" else ""),
    )


def _common_options(main: Field) -> list[click.Parameter]:
    return [
        click.Option(["--file", "_file"], type=_PATH, help=f"Take it from a file: {main.help}"),
        click.Option(["--in", "_in"], type=_PATH, help="Do it with every file or row of this."),
        click.Option(["--out", "_out"], type=_PATH, help="Table to write, .csv or .jsonl."),
        click.Option(["--model", "model"], help="Which model does it."),
        click.Option(
            ["--language", "language"],
            type=click.Choice(["it", "es", "en"]),
            help="Language of the answer, where not the text's own.",
        ),
        click.Option(["--engine", "_engine"], help="Which engine runs the model."),
        click.Option(["--json", "_json"], is_flag=True, help="The result as JSON."),
        click.Option(["--example", "_example"], is_flag=True, help="Do it with its example."),
        click.Option(["--schema", "_schema"], is_flag=True, help="The JSON Schema of results."),
    ]


_PATH = click.Path(path_type=Path)


def _do(name: str, task: ModuleType, flags: dict[str, Any]) -> int:
    from dimora.tasks.ready.base import fields_of, result_schema

    if flags["_schema"]:
        print_json(result_schema(task))
        return 0
    if (flags["_in"] is None) != (flags["_out"] is None):
        raise BadRequest("many inputs need both --in and --out")
    settings = settings_here()
    asked = {f.name: flags[f.name] for f in fields_of(task)[1:] if flags[f.name] not in (None, ())}
    asked |= {"model": flags["model"] or settings.default_model, "request": name}
    if flags["language"]:
        asked["language"] = flags["language"]
    if flags["_engine"]:
        asked["options"] = {"engine": flags["_engine"]}
    if flags["_in"] is not None:
        from dimora.cli.doing import do_many

        return do_many(task, asked, flags["_in"], flags["_out"], settings)
    main = fields_of(task)[0].name
    if flags["_example"]:
        asked = {**task.EXAMPLE, **asked}
    elif text := _text(flags):
        asked[main] = text
    else:
        raise BadRequest(
            f"there is no {main} to work with", hint=f"dimora do {name} TEXT, or --file FILE"
        )
    request = make_request(task, asked)
    with door_here(settings) as door:
        pull_if_missing(door, request.model)
        return _do_one(door, request, as_json=flags["_json"])


def _text(flags: dict[str, Any]) -> str:
    """What stands on the line, in the file and on standard input, in this order."""
    found = [" ".join(flags["words"])]
    if flags["_file"] is not None:
        found.append(text_of(flags["_file"]))
    if not (any(found) or sys.stdin.isatty()):
        found.append(sys.stdin.read())
    return "\n\n".join(part for part in found if part)


def make_request(task: ModuleType, asked: dict[str, Any]) -> ReadyRequest:
    """Raises BadRequest that names the field which is wrong or missing."""
    import msgspec

    from dimora.tasks.ready.base import request_of

    try:
        return msgspec.convert(asked, request_of(task))
    except msgspec.ValidationError as why:
        raise BadRequest(str(why), hint="--help tells the options") from None


def _do_one(door: Door, request: ReadyRequest, *, as_json: bool) -> int:
    from dimora.tasks.ready.base import Answered

    with closing(door.ask(request)) as events:
        for event in events:
            if isinstance(event, Progress) and sys.stderr.isatty():
                click.echo(dim(event.status, sys.stderr), err=True)
            elif isinstance(event, Answered):
                if as_json:
                    print_json(event.result)
                else:
                    click.echo(page(event.result))
            elif isinstance(event, Done):
                for warning in event.warnings:
                    click.echo(f"Warning: {warning}", err=True)
    return 0


def page(result: dict[str, Any]) -> str:
    """A result as people read it: its first words alone, then what else there is by name."""
    (_, first), *others = result.items()
    lines = [_words(first)]
    rest = [(n, _words(v)) for n, v in others if v not in (None, "", [], {})]
    if rest:
        lines += ["", *(f"{n}: {v}" for n, v in rest)]
    return "\n".join(lines)


def _words(value: Any) -> str:
    if isinstance(value, str):
        return "\n".join(harmless(line) for line in value.split("\n"))
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, list):
        return "\n".join(f"- {_words(v)}" for v in value)
    if isinstance(value, dict):
        told = [f"{n} {_words(v)}" for n, v in value.items() if v not in (None, "", [], -1)]
        return ", ".join(told)
    return f"{value}"
