"""Messages and tool calls as Ollama writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from dimora.core.errors import BadRequest
from dimora.core.types import Image, Message, Part, Role, Text, Thought, ToolCall, ToolResult
from dimora.dialects._body import Body, read_base64

_ROLES: dict[str, Role] = {role: role for role in get_args(Role)}


class CalledBody(Body, frozen=True, kw_only=True):
    index: int = 0
    name: str = ""
    arguments: dict[str, Any] = {}


class CallBody(Body, frozen=True, kw_only=True):
    id: str = ""
    type: str = "function"
    function: CalledBody = CalledBody()


class MessageBody(Body, frozen=True, kw_only=True):
    role: str = ""
    content: str = ""
    thinking: str = ""
    images: list[str] = []
    tool_calls: list[CallBody] = []
    tool_name: str = ""
    tool_call_id: str = ""


def read_messages(bodies: Sequence[MessageBody]) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    """Messages, and warnings about fields that mean nothing in their role. Raises BadRequest."""
    warnings: list[str] = []
    messages = [_read_message(body, f"messages[{at}]", warnings) for at, body in enumerate(bodies)]
    return tuple(messages), tuple(warnings)


def _read_message(body: MessageBody, where: str, warnings: list[str]) -> Message:
    role = _ROLES.get(body.role.lower())
    if role is None:
        raise BadRequest(f"{where}.role must be one of: {', '.join(_ROLES)}", param=f"{where}.role")
    _warn_of_strays(body, role, where, warnings)
    if role == "tool":
        result = ToolResult(body.content, call_id=body.tool_call_id, name=body.tool_name)
        return Message("tool", (result,))
    parts: list[Part] = list(read_images(body.images, f"{where}.images"))
    if role == "assistant" and body.thinking:
        parts.append(Thought(body.thinking))
    if body.content:
        parts.append(Text(body.content))
    if role == "assistant":
        parts.extend(_read_call(call, where) for call in body.tool_calls)
    return Message(role, tuple(parts))


def _warn_of_strays(body: MessageBody, role: str, where: str, warnings: list[str]) -> None:
    """Fields are honoured only in the roles they belong to; say so for the others."""
    homes = {
        "thinking": ("assistant",),
        "tool_calls": ("assistant",),
        "tool_name": ("tool",),
        "tool_call_id": ("tool",),
        "images": ("system", "user", "assistant"),
    }
    for name, roles in homes.items():
        if getattr(body, name) and role not in roles:
            warnings.append(f"{where}.{name} means nothing for the role {role} and was ignored")


def _read_call(call: CallBody, where: str) -> ToolCall:
    if not call.function.name:
        raise BadRequest(
            f"{where}.tool_calls: function.name is required", param=f"{where}.tool_calls"
        )
    return ToolCall(call.id, call.function.name, call.function.arguments)


def read_images(images: Sequence[str], where: str) -> tuple[Image, ...]:
    """Images from base64. Raises BadRequest."""
    return tuple(Image(read_base64(text, f"{where}[{at}]")) for at, text in enumerate(images))


def call_fields(call: ToolCall, index: int) -> dict[str, Any]:
    """A tool call as answered; `arguments` is an object in the model's own key order."""
    return {
        "id": call.id,
        "function": {"index": index, "name": call.name, "arguments": call.arguments},
    }
