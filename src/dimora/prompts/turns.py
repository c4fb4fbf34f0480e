"""Brings a conversation into the form that templates expect, and into plainer ones.

Messages in, messages out; only `as_variables` leaves the house's own types.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from dimora.core.types import Message, Part, Text, Thought, Tool, ToolCall, ToolResult
from dimora.prompts.thinking import Thinking

_TOOLS_INTRODUCTION = """You can call functions. Here are their descriptions, one JSON object a \
line, between <tools> tags:
<tools>
{tools}
</tools>
To call a function, answer with a JSON object between <tool_call> tags:
<tool_call>
{{"name": "the function's name", "arguments": {{"an argument's name": "its value"}}}}
</tool_call>"""


def join_turns(messages: Sequence[Message]) -> list[Message]:
    """Neighbours of one role as one turn, an empty line between them; tool answers stay apart."""
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1].role == message.role != "tool":
            joined[-1] = Message(message.role, _with_gap(joined[-1].parts, message.parts))
        else:
            joined.append(message)
    return joined


def _with_gap(first: tuple[Part, ...], second: tuple[Part, ...]) -> tuple[Part, ...]:
    has_words = all(any(isinstance(p, Text) and p.text for p in each) for each in (first, second))
    return (*first, Text("\n\n"), *second) if has_words else (*first, *second)


def forget_thoughts(messages: Sequence[Message], thinking: Thinking | None) -> list[Message]:
    """The messages without the thoughts before the last user turn, which models never see again."""
    last_user = max((at for at, m in enumerate(messages) if m.role == "user"), default=-1)
    return [
        _without_thoughts(m, thinking) if at < last_user and m.role == "assistant" else m
        for at, m in enumerate(messages)
    ]


def _without_thoughts(message: Message, thinking: Thinking | None) -> Message:
    parts = [p for p in message.parts if not isinstance(p, Thought)]
    if thinking is None:
        return Message(message.role, tuple(parts))
    return Message(
        message.role,
        tuple(Text(cut_thought(p.text, thinking)) if isinstance(p, Text) else p for p in parts),
    )


def cut_thought(text: str, thinking: Thinking) -> str:
    """The text after its last thought; a thought without an end is no thought."""
    before, opening, rest = text.partition(thinking.open)
    _, closing, after = (rest if opening else text).rpartition(thinking.close)
    if not closing:
        return text
    return (before if opening else "") + after.lstrip()


def fold_system(messages: Sequence[Message]) -> list[Message]:
    """System texts at the beginning of the user turn that follows, for models that know no other.

    A system text with no user turn after it becomes one.
    """
    folded: list[Message] = []
    waiting: list[Message] = []
    for message in messages:
        if message.role == "system":
            waiting.append(Message("user", message.parts))
        elif message.role == "user" or not waiting:
            folded.extend([*waiting, message])
            waiting = []
        else:
            folded.append(message)
    return join_turns([*folded, *waiting])


def spell_out_tools(messages: Sequence[Message]) -> list[Message]:
    """Calls and their answers as text, for templates that know neither."""
    plain: list[Message] = []
    for message in messages:
        if message.role == "tool":
            text = f"<tool_response>\n{message.text}\n</tool_response>"
            plain.append(Message("user", (Text(text),)))
        else:
            plain.append(Message(message.role, tuple(_spelled_out(p) for p in message.parts)))
    return join_turns(plain)


def _spelled_out(part: Part) -> Part:
    if not isinstance(part, ToolCall):
        return part
    call = {"name": part.name, "arguments": part.arguments}
    return Text(f"<tool_call>\n{json.dumps(call, ensure_ascii=False)}\n</tool_call>")


def describe_tools(messages: Sequence[Message], tools: Sequence[Tool]) -> list[Message]:
    """The messages with a system text that says which tools there are and how to call them."""
    lines = "\n".join(json.dumps(tool_variable(t), ensure_ascii=False) for t in tools)
    text = Text(_TOOLS_INTRODUCTION.format(tools=lines))
    if messages and messages[0].role == "system":
        return [Message("system", _with_gap(messages[0].parts, (text,))), *messages[1:]]
    return [Message("system", (text,)), *messages]


def alternate(messages: Sequence[Message]) -> list[Message]:
    """User and assistant turns only, in turns, a user first."""
    plain = fold_system(spell_out_tools(messages))
    if plain and plain[0].role != "user":
        plain.insert(0, Message("user", (Text(""),)))
    return plain


def tool_variable(tool: Tool) -> dict[str, Any]:
    """A tool as templates expect it."""
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters or {"type": "object", "properties": {}},
        },
    }


def as_variables(messages: Sequence[Message], *, short_ids: bool = False) -> list[dict[str, Any]]:
    """Messages as Jinja templates expect them: content as text, arguments as objects.

    `short_ids` makes call ids of nine letters and digits, as Mistral's templates demand.
    """
    names = {p.id: p.name for m in messages for p in m.parts if isinstance(p, ToolCall) and p.id}
    variables: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "tool":
            variables.extend(_answers(message, names, short_ids))
        else:
            variables.append(_variable(message, short_ids))
    return variables


def _variable(message: Message, short_ids: bool) -> dict[str, Any]:
    variable: dict[str, Any] = {"role": message.role, "content": message.text}
    thought = "".join(p.text for p in message.parts if isinstance(p, Thought))
    if thought:
        # Two names for one thing: templates differ in which they read.
        variable["reasoning_content"] = variable["thinking"] = thought
    calls = [
        {
            "id": _id(p.id, short_ids),
            "type": "function",
            "function": {"name": p.name, "arguments": p.arguments},
        }
        for p in message.parts
        if isinstance(p, ToolCall)
    ]
    if calls:
        variable["tool_calls"] = calls
    return variable


def _answers(message: Message, names: dict[str, str], short_ids: bool) -> list[dict[str, Any]]:
    results = [p for p in message.parts if isinstance(p, ToolResult)]
    return [
        {
            "role": "tool",
            "content": result.text,
            "name": result.name or names.get(result.call_id, ""),
            "tool_call_id": _id(result.call_id, short_ids),
        }
        for result in results or [ToolResult(message.text)]
    ]


def _id(given: str, short: bool) -> str:
    if not short or (len(given) == 9 and given.isalnum()):
        return given
    return hashlib.sha256(given.encode()).hexdigest()[:9]
