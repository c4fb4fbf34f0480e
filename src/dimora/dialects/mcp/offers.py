"""The tools that the house offers over MCP: chat, documents, and every ready task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Any, Literal

import msgspec

from dimora import tasks
from dimora.core.errors import BadRequest, InternalError
from dimora.core.languages import LANGUAGES
from dimora.core.types import Event, Message, Request, Text
from dimora.dialects._body import Body, BodyReader, read_options
from dimora.dialects._ready import ReadyBody, body_type, reader_of, request_from
from dimora.dialects._writing import find_event
from dimora.dialects.mcp import documents
from dimora.dialects.mcp.offer import Offer, rooted, structured
from dimora.tasks.chat import Chat
from dimora.tasks.generation import Fold
from dimora.tasks.ready.base import Answered, result_schema

_MODEL = {
    "type": "string",
    "description": "Name of a model in the house; its own choice where left out.",
}
_LANGUAGE = {
    "enum": ["", *LANGUAGES],
    "description": "Language of the answer; empty for the text's own.",
    "default": "",
}


@cache
def offers() -> dict[str, Offer]:
    """All tools by name."""
    ready = [_ready_offer(name, task) for name, task in tasks.READY.all().items()]
    return {offer.name: offer for offer in (_CHAT, *documents.OFFERS, *ready)}


def _ready_offer(name: str, task: ModuleType) -> Offer:
    def read(arguments: Mapping[str, Any], warnings: tuple[str, ...]) -> Request:
        body, unknown = reader_of(name, ReadyBody).read_value(dict(arguments))
        require_model(body.model)
        return request_from(name, body, (*warnings, *unknown))

    return Offer(
        name=name,
        description=" ".join((task.__doc__ or "").split()),
        input_schema=_ready_schema(name),
        output_schema=rooted(result_schema(task)),
        read=read,
        tell=_tell_answered,
    )


def _ready_schema(name: str) -> dict[str, Any]:
    schema = rooted(msgspec.json.schema(body_type(name, ReadyBody)))
    hidden = ("batch", "options", "keep_alive")
    own = {n: s for n, s in schema["properties"].items() if n not in hidden}
    properties = {**own, "model": _MODEL, "language": _LANGUAGE}
    return {k: v for k, v in schema.items() if k != "title"} | {"properties": properties}


def _tell_answered(events: Sequence[Event]) -> dict[str, Any]:
    found = find_event(events, Answered)
    if found is None:
        raise InternalError("the task gave no result")
    return structured(found.result)


def require_model(name: str) -> None:
    if not name:
        raise BadRequest("model is required", param="model")


class ChatMessage(Body, frozen=True, kw_only=True):
    role: Literal["system", "user", "assistant"] = "user"
    content: str = ""


class ChatBody(Body, frozen=True, kw_only=True):
    model: str = ""
    prompt: str = ""
    system: str = ""
    messages: list[ChatMessage] = []
    temperature: float | None = None
    max_tokens: int | None = None
    json_schema: dict[str, Any] | None = None


_CHAT_READER = BodyReader(ChatBody)


def _read_chat(arguments: Mapping[str, Any], warnings: tuple[str, ...]) -> Request:
    body, unknown = _CHAT_READER.read_value(dict(arguments))
    require_model(body.model)
    messages = [Message(m.role, (Text(m.content),)) for m in body.messages]
    if body.system:
        messages.insert(0, Message("system", (Text(body.system),)))
    if body.prompt:
        messages.append(Message("user", (Text(body.prompt),)))
    if not any(m.role == "user" for m in messages):
        raise BadRequest("say something in prompt or in messages", param="prompt")
    wanted = {"temperature": body.temperature, "num_predict": body.max_tokens}
    options, about = read_options({n: v for n, v in wanted.items() if v is not None})
    return Chat(
        model=body.model,
        messages=tuple(messages),
        options=options,
        json_schema=body.json_schema,
        warnings=(*warnings, *unknown, *about),
    )


def _tell_chat(events: Sequence[Event]) -> dict[str, Any]:
    text = Fold.of(list(events)).text
    return {"content": [{"type": "text", "text": text}], "isError": False}


_CHAT = Offer(
    name="chat",
    description="Ask a language model of this house. Give a prompt, or the messages so far.",
    input_schema={
        "type": "object",
        "properties": {
            "prompt": {"type": "string", "description": "What to say to the model."},
            "model": _MODEL,
            "system": {"type": "string", "description": "How the model is to answer."},
            "messages": {
                "type": "array",
                "description": "What was said before, oldest first.",
                "items": {
                    "type": "object",
                    "properties": {
                        "role": {"enum": ["system", "user", "assistant"]},
                        "content": {"type": "string"},
                    },
                    "required": ["role", "content"],
                },
            },
            "temperature": {"type": "number", "minimum": 0},
            "max_tokens": {"type": "integer", "minimum": 1},
            "json_schema": {
                "type": "object",
                "description": "A JSON Schema that the answer has to match.",
            },
        },
    },
    read=_read_chat,
    tell=_tell_chat,
)
