"""Talk to a model, or ask it one thing."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from dimora.cli.asking import ask_one, door_here, pull_if_missing, settings_here
from dimora.cli.door import Door
from dimora.cli.session import THINK_WORDS, Session
from dimora.cli.words import print_json, show_sources
from dimora.cli.writing import figures, write_answer
from dimora.core.durations import parse_duration
from dimora.core.errors import BadRequest
from dimora.core.types import Usage
from dimora.tasks.base import Model
from dimora.tasks.embed import Embed, EmbedDone, Vectors
from dimora.tasks.generation import Fold
from dimora.tasks.options import Options, options_from, parse_parameter
from dimora.tasks.show_model import ModelShown, ShowModel


class Run(click.Command):
    """Reads `--think` without a value as `--think=true`: what follows it is the prompt."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        spoken = ["--think=true" if word == "--think" else word for word in args[:end]]
        return super().parse_args(ctx, spoken + args[end:])


@click.command(cls=Run)
@click.argument("model", required=False)
@click.argument("prompt", nargs=-1)
@click.option("--verbose", is_flag=True, help="Show figures after each answer.")
@click.option("--format", "form", metavar="json|FILE", help="Answer in JSON, or by a JSON Schema.")
@click.option(
    "--think",
    type=click.Choice(list(THINK_WORDS)),
    metavar="[=LEVEL]",
    help="Let it think: true, false, low, medium, high, max.",
)
@click.option("--hidethinking", is_flag=True, help="Do not show thoughts.")
@click.option("--keepalive", metavar="TIME", help="How long to keep the model, such as 10m.")
@click.option("--nowordwrap", is_flag=True, help="Do not wrap lines.")
@click.option("--engine", help="Which engine runs the model.")
@click.option("--option", "options", metavar="NAME=VALUE", multiple=True, help="Set an option.")
@click.option("--system", default="", help="System text instead of the model's.")
@click.option("--as", "role", type=click.Choice(["query", "passage"]), help="For embedders.")
@click.option("--dimensions", type=int, default=0, help="For embedders: cut vectors.")
@click.option("--truncate/--no-truncate", default=True, help="Cut what is too long.")
@click.option("--json", "as_json", is_flag=True, help="The answer and its figures as JSON.")
def command(model: str | None, prompt: tuple[str, ...], as_json: bool, **flags: Any) -> int:
    """Talk to MODEL, or ask it PROMPT and what comes by standard input.

    A model that is not here is pulled first. MODEL may be a path to a GGUF file or to a
    folder of OpenVINO IR or ONNX Runtime GenAI. An embedding model prints the vector of the text.
    """
    settings = settings_here()
    name, is_file = _name_or_file(model or settings.default_model)
    words = " ".join(prompt)
    if not sys.stdin.isatty():
        words = f"{sys.stdin.read()}\n\n{words}".strip("\n")
    with door_here(settings, here=is_file) as door:
        if not is_file:
            pull_if_missing(door, name)
        shown = ask_one(door, ShowModel(model=name), ModelShown).shown
        if shown.can("embedding"):
            return _embed(door, name, words, flags)
        session = _session(name, flags)
        if words or not sys.stdin.isatty():
            return _answer_once(door, session, words, as_json)
        return _talk(door, session, shown, history=not settings.no_history)


def _name_or_file(name: str) -> tuple[str, bool]:
    """The name, or the whole path of a file, and which of the two it is."""
    from dimora.models.names import is_file_name, path_of

    if not is_file_name(name):
        return name, False
    path = path_of(name).absolute()
    if not path.exists():
        raise BadRequest(f"there is no file {name!r}", hint="check the path of the model")
    return str(path), True


def _session(name: str, flags: dict[str, Any]) -> Session:
    return Session(
        model=name,
        options=_options(flags["options"], flags["engine"]),
        system=flags["system"],
        json_schema=_schema(flags["form"]),
        think=THINK_WORDS[flags["think"]] if flags["think"] else None,
        keep_alive=_keep_alive(flags["keepalive"]),
        wordwrap=not flags["nowordwrap"],
        verbose=flags["verbose"],
        hide_thinking=flags["hidethinking"],
    )


def _options(pairs: tuple[str, ...], engine: str | None) -> Options:
    values: dict[str, Any] = {"engine": engine} if engine else {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise BadRequest(f"{pair!r} is no option", hint="write it like temperature=0.2")
        parsed = parse_parameter(name, value)
        values[name] = [*values.get(name, []), *parsed] if isinstance(parsed, list) else parsed
    return options_from(values)[0]


def _schema(form: str | None) -> dict[str, Any] | None:
    if form is None:
        return None
    if form == "json":
        return {"type": "object"}
    try:
        text = form if form.lstrip().startswith("{") else Path(form).read_text(encoding="utf-8")
        schema = json.loads(text)
    except (OSError, ValueError):
        raise BadRequest(
            "the format is neither json nor a JSON Schema", hint="--format schema.json"
        ) from None
    if not isinstance(schema, dict):
        raise BadRequest("a JSON Schema is an object", hint="--format schema.json")
    return schema


def _keep_alive(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as why:
        raise BadRequest(str(why)) from None


def _embed(door: Door, name: str, words: str, flags: dict[str, Any]) -> int:
    if not words:
        raise BadRequest("an embedding model needs a text", hint="dimora run MODEL TEXT")
    request = Embed(
        model=name,
        texts=(words,),
        role=flags["role"] or "",
        dimensions=flags["dimensions"],
        truncate=flags["truncate"],
    )
    vectors: tuple[tuple[float, ...], ...] = ()
    usage = Usage()
    for event in door.ask(request):
        if isinstance(event, Vectors):
            vectors = event.vectors
        elif isinstance(event, EmbedDone):
            usage = event.usage
            _tell_warnings(event.warnings)
    click.echo(json.dumps(vectors[0]))
    if flags["verbose"]:
        click.echo(figures(usage), err=True)
    return 0


def _answer_once(door: Door, session: Session, words: str, as_json: bool) -> int:
    with closing(door.ask(session.request(words))) as events:
        if as_json:
            fold = Fold.of(list(events))
            print_json(
                {
                    "model": session.model,
                    "text": fold.text,
                    "citations": fold.citations,
                    "thought": fold.thought,
                    "reason": fold.done.reason,
                    "warnings": fold.done.warnings,
                    "usage": fold.done.usage,
                }
            )
            return 0
        fold = write_answer(events, wordwrap=session.wordwrap, hide_thinking=session.hide_thinking)
    if not fold.ended:
        return 130
    show_sources(fold.citations)
    _tell_warnings(fold.done.warnings)
    if session.verbose:
        click.echo(f"\n{figures(fold.done.usage)}", err=True)
    return 0


def _tell_warnings(warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        click.echo(f"Warning: {warning}", err=True)


def _talk(door: Door, session: Session, shown: Model, *, history: bool) -> int:
    from dimora.cli.terminal import talk

    session.history = history
    return talk(door, session, shown)
