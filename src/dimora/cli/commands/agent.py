"""Let a model work with tools, and be asked about calls."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from dimora.cli.asking import ask_one, door_here, pull_if_missing, settings_here
from dimora.cli.words import dim, harmless, print_json, print_table
from dimora.cli.writing import write_answer
from dimora.core.errors import BadRequest
from dimora.core.types import Event, ToolCall
from dimora.tasks.generation import Fold, TextPiece, ThoughtPiece

if TYPE_CHECKING:
    from dimora.cli.agent_tools import Known
    from dimora.cli.agents import Usable
    from dimora.tasks.acting import ToolOutput

_SHOWN_CHARACTERS = 400


@click.command()
@click.argument("words", nargs=-1, metavar="[WHAT TO DO]...")
@click.option("--model", default="", help="The model; the settings' default where left out.")
@click.option("--tools", default="", metavar="A,B", help="Only these tools, or sources of tools.")
@click.option("--yes-to", multiple=True, metavar="TOOL", help="Call it without asking me.")
@click.option("--steps", default=8, type=click.IntRange(1, 100), help="Steps at most.")
@click.option(
    "--result-tokens",
    default=1024,
    type=click.IntRange(32, 100_000),
    help="What a tool gives back is cut to so many tokens.",
)
@click.option("--forced", is_flag=True, help="Hold every step to the form of a call.")
@click.option("--option", "options", metavar="NAME=VALUE", multiple=True, help="Set an option.")
@click.option("--list", "only_list", is_flag=True, help="List the tools there are.")
@click.option("--json", "as_json", is_flag=True, help="With --list: as JSON.")
def command(words: tuple[str, ...], **flags: Any) -> int:
    """Let a model do something, with the tools of the settings and of the house.

    Every call is shown, and asked about unless its tool is `trusted` in the settings or named by
    --yes-to. Without a terminal to ask at, only those are called. The house's own tools
    (`dimora do`) are offered when --tools names them.
    """
    settings = settings_here()
    model = flags["model"] or settings.default_model
    with ExitStack() as doors:
        door = doors.enter_context(door_here(settings))
        # Tools act here, with the rights of who sits here, wherever the model runs.
        own = door if not door.is_remote else doors.enter_context(door_here(settings, here=True))
        from dimora.cli.agent_tools import choose, known_tools

        known, silent = known_tools(door, own if settings.tools else None, model, flags["yes_to"])
        for source in silent:
            click.echo(f"Warning: no tools from {source.source}: {source.error}", err=True)
        if flags["only_list"]:
            _list(known, as_json=flags["as_json"])
            return 0
        wanted = [name.strip() for name in flags["tools"].split(",") if name.strip()]
        tools = choose(known, wanted)
        return _work(door, model, _asked(words), tools, flags)


def _asked(words: tuple[str, ...]) -> str:
    text = " ".join(words)
    if not sys.stdin.isatty():
        text = f"{sys.stdin.read()}\n\n{text}".strip("\n")
    if not text:
        raise BadRequest("say what is to be done", hint='dimora agent "what to do"')
    return text


def _work(door: Any, model: str, text: str, tools: dict[str, Usable], flags: dict[str, Any]) -> int:
    from dimora.cli.agent_tools import holdable
    from dimora.cli.agents import Agent, Wish
    from dimora.cli.commands.run import _options
    from dimora.tasks.show_model import ModelShown, ShowModel

    pull_if_missing(door, model)
    shown = ask_one(door, ShowModel(model=model), ModelShown).shown
    takes_tools = shown.can("tools")
    if not takes_tools and not flags["forced"]:
        said = f"{model} was not taught to call tools: every step is held to the form of a call"
        click.echo(dim(said, sys.stderr), err=True)
    forced = flags["forced"] or not takes_tools
    if forced:
        tools, left_out = holdable(tools)
        for name, why in left_out.items():
            said = f"Warning: without the tool {name}, whose calls cannot be held to a form: {why}"
            click.echo(harmless(said), err=True)
    wish = Wish(
        model=model,
        templates=(shown.chat_template, shown.template, shown.eos_token),
        steps=flags["steps"],
        result_tokens=flags["result_tokens"],
        options=_options(flags["options"], None),
        forced=bool(tools) and forced,
        describe=not takes_tools and bool(tools),
    )
    outcome = Agent(door, tools, wish, Terminal()).run(text)
    if outcome != "answered":
        click.echo(f"stopped: {outcome}", err=True)
        return 1
    return 0


def _list(known: dict[str, Known], *, as_json: bool) -> None:
    rows = [
        (name, one.kind, "no" if one.usable.trusted else "yes", one.usable.tool.description)
        for name, one in known.items()
    ]
    if as_json:
        keys = ("name", "kind", "asks", "description")
        print_json([dict(zip(keys, row, strict=True)) for row in rows])
        return
    shown = [(name, kind, asks, harmless(words)[:80]) for name, kind, asks, words in rows]
    print_table(("NAME", "KIND", "ASKS", "WHAT IT DOES"), shown, least=("WHAT IT DOES",))


class Terminal:
    """Shows an agent's work, and asks the person; see cli.agents.Watcher."""

    def __init__(self) -> None:
        self._always: set[str] = set()

    def writes(self, events: Iterator[Event]) -> Fold:
        gathered: list[Event] = []

        def pieces() -> Iterator[Event]:
            for event in events:
                gathered.append(event)
                if isinstance(event, TextPiece | ThoughtPiece):
                    yield event

        spoken = pieces()
        if first := next(spoken, None):
            write_answer(chain((first,), spoken), wordwrap=sys.stdout.isatty())
        fold = Fold.of(gathered)
        if not fold.ended:
            raise KeyboardInterrupt
        return fold

    def allows(self, call: ToolCall, usable: Usable) -> bool:
        click.echo(shown_call(call), err=True)
        if usable.trusted or call.name in self._always:
            return True
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            click.echo("  not called: there is nobody to ask", err=True)
            return False
        said = click.prompt(
            "  call it? yes, no, or always this tool",
            type=click.Choice(["y", "n", "a"]),
            show_choices=True,
            err=True,
        )
        if said == "a":
            self._always.add(call.name)
        return bool(said != "n")

    def sees(self, call: ToolCall, output: ToolOutput) -> None:
        first = harmless(output.text.strip().replace("\n", " / "))[:_SHOWN_CHARACTERS]
        click.echo(dim(f"  {'failed: ' if output.failed else ''}{first}", sys.stderr), err=True)

    def answers(self, text: str) -> None:
        click.echo(harmless(text, prose=True))


def shown_call(call: ToolCall) -> str:
    """A call, whole: whoever lets it through has to see all of it."""
    lines = [
        f"    {harmless(name)}: {harmless(json.dumps(value, ensure_ascii=False))}"
        for name, value in call.arguments.items()
    ]
    return "\n".join((f"  {harmless(call.name)}", *lines))
