"""Makes a model call a tool: what to write for it, and the schema the rest is held to."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import msgspec

from dimora.core.errors import BadRequest, InternalError
from dimora.core.types import Tool
from dimora.prompts.schema import check_schema
from dimora.prompts.tool_calls import FALLBACK, SHELF
from dimora.prompts.tool_calls.base import decode

_DEFINITIONS = ("$defs", "definitions")


class Forced(msgspec.Struct, frozen=True, kw_only=True):
    """`prefill` goes after the prompt; what the model writes then must match `json_schema`."""

    prefill: str
    json_schema: dict[str, Any]


def force_call(tool_format: str, tools: Sequence[Tool], name: str = "") -> Forced:
    """Exactly one call: of the tool `name`, or of any.

    Raises:
        BadRequest: no such tool, or a tool's parameters are a schema no grammar can hold.
    """
    chosen = [t for t in tools if not name or t.name == name]
    if not chosen:
        raise BadRequest("there is no tool to call", param="tool_choice")
    format_module = _format(tool_format)
    definitions: dict[str, Any] = {}
    calls = []
    for at, tool in enumerate(chosen):
        parameters = _lift(tool, f"tool{at}", definitions)
        calls.append(
            {
                "type": "object",
                "properties": {
                    "name": {"const": tool.name},
                    format_module.ARGUMENTS: parameters,
                },
                "required": ["name", format_module.ARGUMENTS],
                "additionalProperties": False,
            }
        )
    schema: dict[str, Any] = calls[0] if len(calls) == 1 else {"anyOf": calls}
    if definitions:
        schema = {**schema, "$defs": definitions}
    return Forced(prefill=format_module.PREFILL, json_schema=schema)


def read_forced(tool_format: str, text: str) -> tuple[str, dict[str, Any]]:
    """Name and arguments of the call a model was made to write.

    Raises:
        InternalError: the text is no such call, which the grammar should have made impossible.
    """
    value = decode(text)
    if isinstance(value, dict):
        name, arguments = value.get("name"), value.get(_format(tool_format).ARGUMENTS)
        if isinstance(name, str) and isinstance(arguments, dict):
            return name, arguments
    raise InternalError("the model's tool call cannot be read", code="schema_violation")


def _format(tool_format: str) -> ModuleType:
    return SHELF.load(tool_format if tool_format in SHELF.names() else FALLBACK)


def _lift(tool: Tool, prefix: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """The tool's parameters, their definitions moved to the root under names of their own."""
    try:
        parameters = {"type": "object", **check_schema(tool.parameters)}
    except BadRequest as why:
        raise BadRequest(
            f"the parameters of tool {tool.name[:60]!r}: {why.message}",
            hint=why.hint,
            code=why.code,
            param="tools",
        ) from None
    own = {k: v for k, v in parameters.items() if k not in _DEFINITIONS}
    for keyword in _DEFINITIONS:
        for name, definition in parameters.get(keyword, {}).items():
            definitions[f"{prefix}_{name}"] = _renamed(definition, prefix)
    moved: dict[str, Any] = _renamed(own, prefix)
    if _refers_to(parameters, "#"):
        definitions[prefix] = moved
        return {"$ref": f"#/$defs/{prefix}"}
    return moved


def _renamed(schema: Any, prefix: str) -> Any:
    """The same schema with its references following the definitions to their new place."""
    if isinstance(schema, list):
        return [_renamed(each, prefix) for each in schema]
    if not isinstance(schema, dict):
        return schema
    renamed = {k: _renamed(v, prefix) for k, v in schema.items()}
    reference = schema.get("$ref")
    if isinstance(reference, str):
        for keyword in _DEFINITIONS:
            if reference.startswith(f"#/{keyword}/"):
                renamed["$ref"] = f"#/$defs/{prefix}_{reference.removeprefix(f'#/{keyword}/')}"
        if reference == "#":
            renamed["$ref"] = f"#/$defs/{prefix}"
    return renamed


def _refers_to(schema: Any, reference: str) -> bool:
    if isinstance(schema, list):
        return any(_refers_to(each, reference) for each in schema)
    if not isinstance(schema, dict):
        return False
    return schema.get("$ref") == reference or any(
        _refers_to(each, reference) for each in schema.values()
    )
