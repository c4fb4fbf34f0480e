"""Messages as OpenAI writes them: text, content parts, tool calls with JSON in a string."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from dimora.core.errors import BadRequest, UnsupportedFeature
from dimora.core.types import Image, Message, Part, Text, Thought, ToolCall, ToolResult
from dimora.dialects._body import Body, read_base64

_DATA_URI = re.compile(r"data:(?:image/(?:jpeg|jpg|png|webp))?;base64,")


class PartBody(Body, frozen=True, kw_only=True):
    type: str = ""
    text: str = ""
    refusal: str = ""
    image_url: str | dict[str, Any] = ""
    input_audio: Any = None
    file: Any = None


class CalledBody(Body, frozen=True, kw_only=True):
    name: str = ""
    arguments: str = ""


class CallBody(Body, frozen=True, kw_only=True):
    id: str = ""
    type: str = "function"
    index: int = 0
    function: CalledBody = CalledBody()


class MessageBody(Body, frozen=True, kw_only=True):
    """`reasoning` and `reasoning_content` are how clients send back what we call a thought."""

    role: str = ""
    content: str | list[PartBody] = ""
    name: str = ""
    refusal: str = ""
    reasoning: str = ""
    reasoning_content: str = ""
    tool_calls: list[CallBody] = []
    tool_call_id: str = ""


_ROLES = {"developer": "system", "function": "tool"}


def read_messages(bodies: Sequence[MessageBody]) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    """Messages, and warnings about fields that mean nothing in their role.

    Raises:
        BadRequest: a role or part is unknown, an image is not base64, arguments are not JSON.
    """
    warnings: list[str] = []
    messages = [_read_message(body, f"messages[{at}]", warnings) for at, body in enumerate(bodies)]
    return tuple(messages), tuple(warnings)


def _read_message(body: MessageBody, where: str, warnings: list[str]) -> Message:
    role = _ROLES.get(body.role, body.role)
    _warn_of_strays(body, role, where, warnings)
    content = _read_content(body.content, where)
    match role:
        case "tool":
            if any(isinstance(part, Image) for part in content):
                raise UnsupportedFeature(f"{where}: a tool's result can only be text", param=where)
            text = "".join(part.text for part in content if isinstance(part, Text))
            return Message("tool", (ToolResult(text, call_id=body.tool_call_id, name=body.name),))
        case "assistant":
            thought = body.reasoning or body.reasoning_content
            before = [Thought(thought)] if thought else []
            after = [Text(body.refusal)] if body.refusal else []
            calls = [_read_call(call, where) for call in body.tool_calls]
            return Message("assistant", (*before, *content, *after, *calls))
        case "system" | "user":
            return Message("system" if role == "system" else "user", tuple(content))
    raise BadRequest(
        f"{where}.role must be one of: system, developer, user, assistant, tool",
        param=f"{where}.role",
    )


def _warn_of_strays(body: MessageBody, role: str, where: str, warnings: list[str]) -> None:
    """Fields are honoured only in the roles they belong to; say so for the others."""
    homes = {
        "name": "tool",
        "tool_call_id": "tool",
        "tool_calls": "assistant",
        "refusal": "assistant",
        "reasoning": "assistant",
        "reasoning_content": "assistant",
    }
    for name, home in homes.items():
        if getattr(body, name) and role != home:
            warnings.append(f"{where}.{name} means nothing in this role and was ignored")


def _read_content(content: str | list[PartBody], where: str) -> list[Part]:
    if isinstance(content, str):
        return [Text(content)] if content else []
    return [_read_part(part, f"{where}.content[{at}]") for at, part in enumerate(content)]


def _read_part(part: PartBody, where: str) -> Part:
    match part.type:
        case "text" | "input_text" | "output_text":
            return Text(part.text)
        case "refusal":
            return Text(part.refusal)
        case "image_url":
            return _read_image(part.image_url, where)
        case "input_audio" | "file":
            raise UnsupportedFeature(f"{where}: {part.type} is not supported", param=where)
    raise BadRequest(f"{where}.type must be one of: text, image_url", param=f"{where}.type")


def _read_image(value: str | dict[str, Any], where: str) -> Image:
    """`detail` is a wish about cost that no model here knows."""
    url = value if isinstance(value, str) else value.get("url")
    if not isinstance(url, str) or not url:
        raise BadRequest(f"{where}.image_url needs a url", param=f"{where}.image_url")
    if url[:5].lower() != "data:":
        raise UnsupportedFeature(
            "image URLs are not currently supported, please use base64 encoded data instead",
            param=f"{where}.image_url",
        )
    found = _DATA_URI.match(url)
    if found is None:
        raise BadRequest(
            f"{where}.image_url must begin with data:image/png;base64, (or jpeg, webp)",
            param=f"{where}.image_url",
        )
    return Image(read_base64(url[found.end() :], f"{where}.image_url"))


def _read_call(call: CallBody, where: str) -> ToolCall:
    where = f"{where}.tool_calls"
    if call.type != "function" or not call.function.name:
        raise BadRequest(f"{where} must be functions with a name", param=where)
    try:
        arguments = msgspec.json.decode(call.function.arguments or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        raise BadRequest(
            f"{where}: function.arguments must be a JSON object in a string", param=where
        ) from None
    return ToolCall(call.id, call.function.name, arguments)
