"""What Go templates are given to read: messages and tools, by the names Go knows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dimora.core.types import Message, Thought, Tool, ToolCall, ToolResult
from dimora.prompts.turns import tool_variable


class Thing(msgspec.Struct, frozen=True):
    """A Go struct: `fields` as templates name them, `plain` as it is written in JSON."""

    fields: dict[str, Any]
    plain: Any


def exchanges_of(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """System, prompt and response of each exchange; the last is the one to answer."""
    rounds: list[dict[str, Any]] = []
    current = {"System": "", "Prompt": "", "Response": ""}
    order = {"system": ("System", ("Prompt", "Response")), "user": ("Prompt", ("Response",))}
    for message in messages:
        name, later = order.get(message.role, ("Response", ()))
        if any(current[each] for each in later):
            rounds.append(current)
            current = {"System": "", "Prompt": "", "Response": ""}
        gap = "\n\n" if current[name] else ""
        current[name] += gap + message.text
    if current["Response"]:
        rounds.append(current)
        current = {"System": "", "Prompt": "", "Response": ""}
    return [*rounds, current]


def conversation_of(messages: Sequence[Message]) -> dict[str, Any]:
    system = "\n\n".join(m.text for m in messages if m.role == "system")
    return {
        "System": system,
        "Messages": [thing for m in messages for thing in _message(m)],
        "Response": "",
        "Prompt": "",
    }


def _message(message: Message) -> list[Thing]:
    results = [p for p in message.parts if isinstance(p, ToolResult)]
    if results:
        return [_thing_of(message.role, r.text, name=r.name, call_id=r.call_id) for r in results]
    thought = "".join(p.text for p in message.parts if isinstance(p, Thought))
    calls = [_call(p, at) for at, p in enumerate(_calls(message))]
    return [_thing_of(message.role, message.text, thought=thought, calls=calls)]


def _calls(message: Message) -> list[ToolCall]:
    return [p for p in message.parts if isinstance(p, ToolCall)]


def _thing_of(
    role: str,
    text: str,
    *,
    thought: str = "",
    calls: Sequence[Thing] = (),
    name: str = "",
    call_id: str = "",
) -> Thing:
    fields = {
        "Role": role,
        "Content": text,
        "Thinking": thought,
        "Images": [],
        "ToolCalls": list(calls),
        "ToolName": name,
        "ToolCallID": call_id,
    }
    return Thing(fields, {"role": role, "content": text})


def _call(call: ToolCall, index: int) -> Thing:
    function = {"name": call.name, "arguments": call.arguments}
    fields = {"Index": index, "Name": call.name, "Arguments": call.arguments}
    return Thing({"ID": call.id, "Function": Thing(fields, function)}, {"function": function})


def tool_of(tool: Tool) -> Thing:
    plain = tool_variable(tool)
    function = plain["function"]
    parameters = function["parameters"]
    # Callers write these: a template must not stumble over what is no JSON Schema.
    properties = parameters.get("properties", {})
    named = properties if isinstance(properties, dict) else {}
    inner = {
        "Type": parameters.get("type", ""),
        "Required": parameters.get("required", []),
        "Properties": {name: _property(each) for name, each in named.items()},
    }
    fields = {
        "Name": tool.name,
        "Description": tool.description,
        "Parameters": Thing(inner, parameters),
    }
    return Thing({"Type": "function", "Function": Thing(fields, function)}, plain)


def _property(schema: Any) -> Thing:
    plain = schema if isinstance(schema, dict) else {}
    fields = {
        "Type": plain.get("type", ""),
        "Description": plain.get("description", ""),
        "Enum": plain.get("enum", []),
        "Items": plain.get("items"),
    }
    return Thing(fields, schema)
