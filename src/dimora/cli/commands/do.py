"""Do a ready task with a text, or with many."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from dimora.cli.asking import door_here, pull_if_missing, settings_here
from dimora.cli.main import file_name, first_line
from dimora.cli.reading import bytes_of, text_of
from dimora.cli.showing import save_result, show_result
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
        help=field.help + _MORE.get(field.kind, "") * (not field.choices),
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
        click.Option(["--save", "_save"], type=_PATH, help="Write the result's text to a file."),
        click.Option(["--json", "_json"], is_flag=True, help="The result as JSON."),
        click.Option(["--example", "_example"], is_flag=True, help="Do it with its example."),
        click.Option(["--schema", "_schema"], is_flag=True, help="The JSON Schema of results."),
    ]


_PATH = click.Path(path_type=Path)
_MORE = {"texts": " Repeat it for more.", "text": " @FILE reads it from a file."}


def _do(name: str, task: ModuleType, flags: dict[str, Any]) -> int:
    from dimora.tasks.ready.base import fields_of, result_schema

    if flags["_schema"]:
        print_json(result_schema(task))
        return 0
    main, *others = fields_of(task)
    many = main.kind == "texts"
    if many and flags["_out"] is not None:
        raise BadRequest("this task has one result for all its texts", hint="give --in alone")
    if not many and (flags["_in"] is None) != (flags["_out"] is None):
        raise BadRequest("many inputs need both --in and --out")
    settings = settings_here()
    asked = {
        "request": name,
        "model": flags["model"] or settings.default_model,
        **_options(flags, others),
    }
    if flags["_out"] is not None:
        from dimora.cli.doing import do_many

        return do_many(task, asked, flags["_in"], flags["_out"], settings)
    if flags["_example"]:
        asked = {**task.EXAMPLE, **asked}
    elif found := _texts(flags, main) if many else _text(flags, main):
        asked |= found
    else:
        raise BadRequest(
            f"there is no {main.name} to work with", hint=f"dimora do {name} TEXT, or --file FILE"
        )
    request = make_request(task, asked)
    with door_here(settings) as door:
        for model in (request.model, getattr(request, "embedder", "")):
            if model:
                pull_if_missing(door, model)
        return _do_one(door, request, _shown(flags, main))


def _shown(flags: dict[str, Any], main: Field) -> Callable[[dict[str, Any]], None]:
    """What is done with the result."""
    if flags["_json"]:
        return print_json
    if flags["_save"] is not None:
        return lambda result: save_result(result, flags["_save"], whole=_is_whole(flags, main))
    if _is_whole(flags, main):
        raise BadRequest("what comes back is a file", hint="name it with --save FILE")
    return show_result


def _options(flags: dict[str, Any], fields: Sequence[Field]) -> dict[str, Any]:
    """What the options of the line say, as fields of the request."""
    asked = {f.name: _read(flags[f.name], f) for f in fields if flags[f.name] not in (None, ())}
    if flags["language"]:
        asked["language"] = flags["language"]
    if flags["_engine"]:
        asked["options"] = {"engine": flags["_engine"]}
    return asked


def _read(value: Any, field: Field) -> Any:
    """What an option says; of `@FILE` what stands in the file."""
    if field.kind == "text" and not field.choices and value.startswith("@"):
        return text_of(Path(value[1:]))
    return value


def _text(flags: dict[str, Any], main: Field) -> dict[str, Any]:
    """What stands on the line, in the file and on standard input, in this order."""
    if _is_whole(flags, main):
        return {main.name: base64.b64encode(bytes_of(flags["_file"])).decode()}
    found = [" ".join(flags["words"])]
    if flags["_file"] is not None:
        found.append(text_of(flags["_file"]))
    if not (any(found) or sys.stdin.isatty()):
        found.append(sys.stdin.read())
    text = "\n\n".join(part for part in found if part)
    return {main.name: text} if text else {}


def _texts(flags: dict[str, Any], main: Field) -> dict[str, Any]:
    """Each argument, each file or row, or each line of standard input, with their names."""
    from dimora.cli.batching import read_rows

    rows = [(str(number), text) for number, text in enumerate(flags["words"], 1)]
    for source in (flags["_file"], flags["_in"]):
        if source is not None:
            for row in read_rows(source, main.name, [main.name]):
                if row.error:
                    raise BadRequest(f"{harmless(row.name)}: {row.error}", param="in")
                rows.append((row.name, row.fields[main.name]))
    if not (rows or sys.stdin.isatty()):
        rows = [(str(n), line) for n, line in enumerate(sys.stdin, 1) if line.strip()]
    names, texts = [name for name, _ in rows], [text for _, text in rows]
    return {main.name: texts, "names": names} if rows else {}


def _is_whole(flags: dict[str, Any], main: Field) -> bool:
    """Whether the task takes the file as it is, and gives one back."""
    return flags["_file"] is not None and flags["_file"].suffix.lower() in main.whole


def make_request(task: ModuleType, asked: dict[str, Any]) -> ReadyRequest:
    """Raises BadRequest that names the field which is wrong or missing."""
    import msgspec

    from dimora.tasks.ready.base import request_of

    try:
        return msgspec.convert(asked, request_of(task))
    except msgspec.ValidationError as why:
        raise BadRequest(str(why), hint="--help tells the options") from None


def _do_one(door: Door, request: ReadyRequest, show: Callable[[dict[str, Any]], None]) -> int:
    from dimora.tasks.ready.base import Answered

    with closing(door.ask(request)) as events:
        for event in events:
            if isinstance(event, Progress) and sys.stderr.isatty():
                click.echo(dim(event.status, sys.stderr), err=True)
            elif isinstance(event, Answered):
                show(event.result)
            elif isinstance(event, Done):
                for warning in event.warnings:
                    click.echo(f"Warning: {warning}", err=True)
    return 0
