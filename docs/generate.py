"""Writes docs/reference from the code. `make docs`; a test fails when the pages are stale."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import click

from dimora import dialects, tasks
from dimora.cli.main import program
from dimora.core.durations import format_duration
from dimora.core.settings import Settings, knobs
from dimora.tasks.ready.base import fields_of, request_of, result_schema

REFERENCE = Path(__file__).parent / "reference"
EXAMPLES = Path(__file__).parents[1] / "examples"


def settings_page() -> str:
    lines = [
        "# Settings",
        "",
        "Defaults < file (`dimora.toml` in the home, or `$DIMORA_CONFIG`) < environment < flags of",
        "`dimora serve`. `dimora config show` prints every value and where it came from.",
        "",
        "| setting | environment | default | what it is |",
        "|---|---|---|---|",
    ]
    default = Settings()
    for name, knob in knobs().items():
        value = getattr(default, name)
        if name.endswith("_seconds"):
            shown = format_duration(value)
        elif name == "models":
            shown = ""
        else:
            shown = "" if value in ((), "") else str(value)
        variables = ", ".join(f"`{v}`" for v in knob.env)
        lines.append(f"| `{name}` | {variables} | {shown} | {knob.help} |")
    return "\n".join(lines) + "\n"


def routes_page() -> str:
    lines = ["# Routes", "", "From the tables of the dialects.", ""]
    for name, dialect in dialects.SHELF.all().items():
        lines += [f"## {name}", "", "| methods | path |", "|---|---|"]
        lines += [f"| {', '.join(r.methods)} | `{r.path}` |" for r in dialect.ROUTES]
        lines.append("")
    lines += ["## the server itself", "", "| methods | path |", "|---|---|"]
    lines += ["| GET, HEAD | `/health` |", "| GET, HEAD | `/metrics` |"]
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    lines = ["# Commands", "", "From `dimora --help` and the help of each command.", ""]
    context = click.Context(program, info_name="dimora", **program.context_settings)
    for name in program.list_commands(context):
        command = program.get_command(context, name)
        if command is None or command.hidden:
            continue
        lines += [f"## dimora {name}", "", "```"]
        inner = click.Context(command, info_name=name, parent=context, terminal_width=98)
        lines += [line.rstrip() for line in command.get_help(inner).splitlines()]
        lines += ["```", ""]
    return "\n".join(lines)


def tasks_page() -> str:
    lines = [
        "# Ready tasks",
        "",
        "From the files in `tasks/ready`. `dimora do NAME` does one, with a text, a file, or with",
        "`--in` and `--out` every file of a folder or row of a table; `POST /v1/tasks/NAME` takes",
        "the same fields as JSON, beside `model`, `language`, `options`, `keep_alive` and",
        "`stream`; `GET /v1/tasks` lists them all. Prompt and answer are in the language of the",
        "text (Italian, Spanish, English). At the terminal the first field is what stands behind",
        "the name, in `--file` or on standard input; each other one is an option, where `@FILE`",
        "reads a text from a file and lists repeat the option. Results come as text, with `--json`",
        "as JSON, and with `--save FILE` as a file. The files of the examples are in",
        "`examples/tasks`.",
        "",
    ]
    tries = _lines_to_try()
    for name, task in tasks.READY.all().items():
        shown = name.replace("_", "-")
        told = (task.__doc__ or "").strip().partition("\n")[0]
        lines.append(f"* [{shown}](#{shown}): {told}")
    lines.append("")
    for name, task in tasks.READY.all().items():
        lines += [f"## {name.replace('_', '-')}", "", inspect.cleandoc(task.__doc__ or ""), ""]
        lines += [inspect.cleandoc(request_of(task).__doc__ or ""), ""]
        lines += ["| field | | default | what it is |", "|---|---|---|---|"]
        for field in fields_of(task):
            kind = ", ".join(f"`{c}`" for c in field.choices) or field.kind
            default = "required" if field.required else _default_words(field.default)
            lines.append(f"| `{field.name}` | {kind} | {default} | {field.help} |")
        result = inspect.cleandoc(task.RESULT.__doc__ or "")
        lines += [
            "",
            f"Result: {result}",
            "",
            "Try it, in `examples/tasks`:",
            "",
            "```sh",
            *tries.get(name.replace("_", "-"), ()),
            "```",
            "",
            "The fields of `dimora do {} --example`, as HTTP takes them:".format(
                name.replace("_", "-")
            ),
        ]
        lines += ["", "```json", json.dumps(dict(task.EXAMPLE), indent=2, ensure_ascii=False)]
        lines += ["```", "", "<details><summary>JSON Schema of the result</summary>", "", "```json"]
        lines += [json.dumps(result_schema(task), indent=2), "```", "", "</details>", ""]
    return "\n".join(lines)


def _lines_to_try() -> dict[str, list[str]]:
    """The commands of `examples/tasks`, by task."""
    page = (EXAMPLES / "tasks/README.md").read_text(encoding="utf-8")
    found: dict[str, list[str]] = {}
    for shown, line in re.findall(r"^\| ([\w-]+) \| `(.+)` \|$", page, re.MULTILINE):
        found.setdefault(shown, []).append(line)
    return found


def _default_words(value: Any) -> str:
    if value in ("", ()):
        return ""
    return f"`{json.dumps(value)}`"


PAGES = {
    "settings.md": settings_page,
    "routes.md": routes_page,
    "commands.md": commands_page,
    "tasks.md": tasks_page,
}


def main() -> None:
    REFERENCE.mkdir(exist_ok=True)
    for name, write in PAGES.items():
        (REFERENCE / name).write_text(write(), encoding="utf-8")


if __name__ == "__main__":
    main()
