"""Tools and the choice among them: both JSON languages write these alike.

Not a dialect itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from dimora.core.errors import BadRequest, UnsupportedFeature
from dimora.core.types import Tool
from dimora.dialects._body import Body

Choice = Literal["auto", "none", "required", "named"]


class FunctionBody(Body, frozen=True, kw_only=True):
    name: str = ""
    description: str = ""
    parameters: dict[str, Any] = {}
    strict: bool = False


class ToolBody(Body, frozen=True, kw_only=True):
    type: str = "function"
    function: FunctionBody = FunctionBody()


class ToolChoice(NamedTuple):
    choice: Choice = "auto"
    name: str = ""


def read_tools(bodies: Sequence[ToolBody]) -> tuple[tuple[Tool, ...], tuple[str, ...]]:
    """Tools, and warnings about what they ask for in vain. Raises BadRequest."""
    tools, warnings = [], []
    for at, body in enumerate(bodies):
        if body.type != "function":
            raise UnsupportedFeature(
                f"tools[{at}].type must be 'function'", param=f"tools[{at}].type"
            )
        function = body.function
        if not function.name:
            raise BadRequest(
                f"tools[{at}].function.name is required", param=f"tools[{at}].function.name"
            )
        if function.strict:
            warnings.append(
                f"tools[{at}].function.strict: arguments are held to their schema only where"
                " tool_choice asks for a call"
            )
        tools.append(Tool(function.name, function.description, function.parameters))
    return tuple(tools), tuple(warnings)


def tool_conflicts(
    tools: Sequence[Tool], choice: Choice, json_schema: dict[str, Any] | None
) -> tuple[str, ...]:
    """A warning where the answer shall be a call and shall match a schema: it cannot be both."""
    if not tools or choice == "none" or json_schema is None:
        return ()
    if choice == "auto":
        return ("the tools cannot be called: the answer is held to the JSON schema of its format",)
    return ("the JSON schema of the answer was ignored: tool_choice asks for a call",)


def read_tool_choice(value: Any) -> ToolChoice:
    """`auto`, `none`, `required`, or `{"type": "function", "function": {"name": ...}}`.

    Raises:
        BadRequest: it is something else.
    """
    if value is None:
        return ToolChoice()
    if value in ("auto", "none", "required"):
        return ToolChoice(value)
    if isinstance(value, dict) and value.get("type") == "function":
        function = value.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        if isinstance(name, str) and name:
            return ToolChoice("named", name)
    raise BadRequest(
        'tool_choice must be "auto", "none", "required", or'
        ' {"type": "function", "function": {"name": "..."}}',
        param="tool_choice",
    )
