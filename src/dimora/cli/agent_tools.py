"""The tools of an agent's run: those of the settings, and the house's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import msgspec

from dimora.cli.agents import Usable
from dimora.cli.asking import ask_one
from dimora.cli.door import Door
from dimora.core.errors import BadRequest
from dimora.core.tool_tables import SEPARATOR
from dimora.core.types import Tool
from dimora.dialects.mcp.offer import Offer
from dimora.dialects.mcp.offers import offers
from dimora.models.names import is_file_name
from dimora.prompts.forcing import force_call
from dimora.prompts.schema import without_keywords
from dimora.tasks.acting import OfferedTool, SilentSource, ToolOutput
from dimora.tasks.call_tool import CallTool, ToolAnswered
from dimora.tasks.list_tools import ListTools, ToolsListed

# Of the house's own tools these are there unasked; the others, which are many, when named.
_ALWAYS = ("search", "ask")
_NEVER = ("chat",)
# Arguments that name a model, beside that of the run.
_MODELS = ("embedder",)
# They tell, and hold nothing; of `format` a grammar knows a few only.
_ANNOTATIONS = frozenset(
    {"format", "deprecated", "readOnly", "writeOnly", "contentEncoding", "contentMediaType"}
)


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that may be had, and where it comes from."""

    usable: Usable
    source: str
    kind: str
    always: bool = True


def known_tools(
    door: Door, own: Door | None, model: str, yes_to: Sequence[str] = ()
) -> tuple[dict[str, Known], tuple[SilentSource, ...]]:
    """All there are. `door` is asked for models, `own` for tools of the settings, if there are any.

    Raises BadRequest where a tool of the settings has the name of one of the house's.
    """
    house = {name: o for name, o in offers().items() if name not in _NEVER}
    found = {name: _house_tool(door, offer, model) for name, offer in house.items()}
    if own is None:
        return found, ()
    listed = ask_one(own, ListTools(), ToolsListed)
    for tool in listed.tools:
        if tool.name in found or tool.name in ("answer", *_NEVER):
            raise BadRequest(
                f"the tool {tool.name!r} of the settings has the name of one of the house's",
                hint="give it another name in its table",
            )
        known = _settings_tool(own, tool, trusted=_is_named(tool.name, tool.source, yes_to))
        found[tool.name] = known
    return found, listed.silent


def choose(known: dict[str, Known], wanted: Sequence[str]) -> dict[str, Usable]:
    """Those that are wanted, by name or by the name of their source; without a wish, those that
    are always there. Raises BadRequest for a name that there is not."""
    for name in wanted:
        if not any(_is_named(tool, one.source, (name,)) for tool, one in known.items()):
            raise BadRequest(f"there is no tool {name!r}", hint="`dimora agent --list` tells all")
    return {
        name: one.usable
        for name, one in known.items()
        if (_is_named(name, one.source, wanted) if wanted else one.always)
    }


def holdable(tools: Mapping[str, Usable]) -> tuple[dict[str, Usable], dict[str, str]]:
    """Those whose calls a grammar can hold, and why it cannot hold the others.

    A schema that cannot be held as it is may lose what only annotates it.
    """
    held: dict[str, Usable] = {}
    left_out: dict[str, str] = {}
    for name, usable in tools.items():
        try:
            held[name] = msgspec.structs.replace(usable, tool=_held(usable.tool))
        except BadRequest as why:
            left_out[name] = why.message
        except RecursionError:
            left_out[name] = "its parameters are nested too deep"
    return held, left_out


def _held(tool: Tool) -> Tool:
    """Raises BadRequest, RecursionError."""
    try:
        force_call("", (tool,))
    except BadRequest:
        bare = without_keywords(tool.parameters, lambda keyword, _: keyword in _ANNOTATIONS)
        tool = msgspec.structs.replace(tool, parameters=bare)
        force_call("", (tool,))
    return tool


def _is_named(tool: str, source: str, names: Sequence[str]) -> bool:
    return tool in names or source in names


def _settings_tool(own: Door, tool: OfferedTool, *, trusted: bool) -> Known:
    def call(arguments: dict[str, Any]) -> ToolOutput:
        asked = CallTool(tool=tool.name, arguments=arguments)
        return ask_one(own, asked, ToolAnswered).output

    return Known(
        usable=Usable(
            tool=Tool(tool.name, tool.description, tool.parameters),
            call=call,
            trusted=tool.trusted or trusted,
        ),
        source=tool.name.partition(SEPARATOR)[0],
        kind=tool.kind,
    )


def _house_tool(door: Door, offer: Offer, model: str) -> Known:
    schema = offer.input_schema
    own = {n: s for n, s in schema.get("properties", {}).items() if n != "model"}

    def call(arguments: dict[str, Any]) -> ToolOutput:
        # The reader knows more than is offered, such as `options`: those are the person's.
        given = {n: value for n, value in arguments.items() if n in own}
        for name in _MODELS:
            # At a terminal a path opens any file, and nobody is asked before this call.
            if is_file_name(str(given.get(name, ""))):
                raise BadRequest(f"{name} must be the name of a model", param=name)
        more = {"model": model} if offer.takes_model else {}
        request = offer.read({**given, **more}, ())
        with closing(door.ask(request)) as events:
            told = offer.tell(list(events))
        return ToolOutput(text=told["content"][0]["text"])

    return Known(
        # It changes nothing and asks nobody else.
        usable=Usable(
            tool=Tool(offer.name, offer.description, {**schema, "properties": own}),
            call=call,
            trusted=True,
        ),
        source="house",
        kind="house",
        always=offer.name in _ALWAYS,
    )
