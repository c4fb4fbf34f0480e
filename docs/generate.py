"""Writes docs/reference from the code. `make docs`; a test fails when the pages are stale."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import click

from dimora import dialects, tasks
from dimora.cli.main import ALIASES, program
from dimora.core.settings import Settings, explain, knobs
from dimora.tasks.ready.base import fields_of, request_of, result_schema

REFERENCE = Path(__file__).parent / "reference"
EXAMPLES = Path(__file__).parents[1] / "examples"


SETTINGS_FILE = """\
host = "0.0.0.0:11434"
keep_alive_seconds = "30m"
registries = ["registry.ollama.ai", "hf.co", "huggingface.co", "registry.example.org"]

[[api_keys]]
user = "anna"
key = "at-least-16-characters"
role = "owner"

[registry_credentials."registry.example.org"]
user = "anna"
password = "her-password"
"""


def settings_page() -> str:
    lines = [
        "# Settings",
        "",
        "Defaults < file (`dimora.toml` in the home, or `$DIMORA_CONFIG`) < environment < flags of",
        "`dimora serve`. `dimora config show` prints every value and where it came from.",
        "",
        "In the environment a list is written with commas:",
        "`DIMORA_REGISTRIES=registry.ollama.ai,hf.co,huggingface.co,registry.example.org`.",
        "Of several variables for one setting the first that is set counts; variables of Ollama",
        "that are not in the table are ignored. `DIMORA_API_KEY` is not a setting: it is the key",
        "that commands send to a running server.",
        "",
        "An example of a file. It holds secrets: let nobody else read it (`chmod 600`).",
        "",
        "```toml",
        *SETTINGS_FILE.splitlines(),
        "```",
        "",
        "| setting | environment | default | what it is |",
        "|---|---|---|---|",
    ]
    for row in explain(Settings(), dict.fromkeys(knobs(), "default")):
        value = "" if row.name == "models" else row.value
        variables = ", ".join(f"`{v}`" for v in knobs()[row.name].env)
        lines.append(f"| `{row.name}` | {variables} | {value} | {row.help} |")
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
    others = " and ".join(f"`{alias}` for `{name}`" for alias, name in ALIASES.items())
    lines = [
        "# Commands",
        "",
        f"From the help of each command. One may also write {others}. The options of",
        "`dimora do TASK` are the fields of the task: see [ready tasks](tasks.md).",
        "",
    ]
    context = click.Context(program, info_name="dimora", **program.context_settings)
    for name in program.list_commands(context):
        command = program.get_command(context, name)
        if command is not None:
            lines += _help_of(command, name, context)
    return "\n".join(lines)


def _help_of(command: click.Command, name: str, parent: click.Context) -> list[str]:
    """The help of a command, and below it that of each command in it."""
    if command.hidden:
        return []
    context = click.Context(command, info_name=name, parent=parent, terminal_width=98)
    level = "#" * (len(context.command_path.split()))
    lines = [f"{level} {context.command_path}", "", "```"]
    lines += [line.rstrip() for line in command.get_help(context).splitlines()]
    lines += ["```", ""]
    # Tasks have a page of their own.
    if isinstance(command, click.Group) and name != "do":
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            lines += _help_of(found, inner, context) if found is not None else []
    return lines


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
