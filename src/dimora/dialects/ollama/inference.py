"""`/api/generate` and `/api/chat`: from their bodies to what the house is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dimora.core.errors import BadRequest, NotFound
from dimora.core.types import Request
from dimora.dialects._body import (
    Body,
    BodyReader,
    check_integer,
    keep_alive_from,
    quote,
    read_json_schema,
    read_options,
)
from dimora.dialects._tools import ToolBody, read_tool_choice, read_tools, tool_conflicts
from dimora.dialects._writing import clip_name
from dimora.dialects.base import Asked, Incoming
from dimora.dialects.ollama.answers import (
    GenerationAnswer,
    Shape,
    chat_shape,
    generate_shape,
)
from dimora.dialects.ollama.messages import MessageBody, read_images, read_messages
from dimora.dialects.ollama.words import Wording, is_name
from dimora.tasks.chat import Chat
from dimora.tasks.generate import Generate
from dimora.tasks.hold_model import HoldModel


class _GenerationBody(Body, frozen=True, kw_only=True):
    model: str = ""
    stream: bool = True
    format: Any = None
    keep_alive: Any = None
    options: dict[str, Any] = {}
    think: Any = None
    truncate: bool = True
    shift: bool = True
    logprobs: bool = False
    top_logprobs: int = 0
    render_only: bool = msgspec.field(default=False, name="_debug_render_only")
    retrieve: bool = True


class GenerateBody(_GenerationBody, frozen=True, kw_only=True):
    prompt: str = ""
    suffix: str = ""
    images: list[str] = []
    system: str = ""
    template: str = ""
    context: list[int] = []
    raw: bool = False


class ChatBody(_GenerationBody, frozen=True, kw_only=True):
    """`tool_choice` is ours: upstream has none."""

    messages: list[MessageBody] = []
    tools: list[ToolBody] = []
    tool_choice: Any = None


_GENERATE = BodyReader(GenerateBody)
_CHAT = BodyReader(ChatBody)

# Fields that mean nothing where there is nothing to answer.
_IDLE_IN_GENERATE = ("suffix", "images", "system", "template", "context", "raw", "format")
_IDLE_IN_CHAT = ("tools", "tool_choice", "format")


def decode_generate(incoming: Incoming) -> Asked:
    """Raises BadRequest, or NotFound for what cannot be a model's name."""
    body, warnings = _GENERATE.read(incoming.body)
    if not is_name(body.model):
        raise NotFound(f"model '{clip_name(body.model)}' not found", code="model_not_found")
    if body.raw and (body.template or body.system or body.context):
        raise BadRequest("raw mode does not support template, system, or context", param="raw")
    if not body.prompt:
        return _hold(body, generate_shape, warnings, ignored=_IDLE_IN_GENERATE)
    for token in body.context:
        check_token(token, "context")
    controls, more = _read_controls(body)
    request = Generate(
        **controls,
        warnings=(*warnings, *more),
        prompt=body.prompt,
        suffix=body.suffix,
        system=body.system or None,
        template=body.template or None,
        images=tuple(image.data for image in read_images(body.images, "images")),
        context=tuple(body.context),
        raw=body.raw,
        want_context=not body.raw,
    )
    return _asked(request, generate_shape, body)


def decode_chat(incoming: Incoming) -> Asked:
    """Raises BadRequest."""
    body, warnings = _CHAT.read(incoming.body)
    if not is_name(body.model):
        raise BadRequest("model is required", param="model")
    if not body.messages:
        return _hold(body, chat_shape, warnings, ignored=_IDLE_IN_CHAT)
    controls, more = _read_controls(body)
    messages, about_messages = read_messages(body.messages)
    tools, about_tools = read_tools(body.tools)
    choice = read_tool_choice(body.tool_choice)
    about_tools += tool_conflicts(tools, choice.choice, controls["json_schema"])
    request = Chat(
        **controls,
        warnings=(*warnings, *more, *about_messages, *about_tools),
        messages=messages,
        tools=tools,
        tool_choice=choice.choice,
        tool_name=choice.name,
    )
    return _asked(request, chat_shape, body)


def _asked(request: Request, shape: Shape, body: _GenerationBody) -> Asked:
    # As upstream, a rendered prompt and the answers to load and unload are one object each.
    streaming = body.stream and not body.render_only and not isinstance(request, HoldModel)
    answer = GenerationAnswer(body.model, shape, Wording(body.model), streaming=streaming)
    return Asked(request, answer)


def _hold(
    body: _GenerationBody, shape: Shape, warnings: tuple[str, ...], *, ignored: Sequence[str]
) -> Asked:
    """Nothing to answer: the model is loaded, or unloaded when keep_alive is 0."""
    options, more = read_options(body.options)
    strays = tuple(
        f"field {quote(name)} was ignored: there is nothing to answer"
        for name in ignored
        if getattr(body, name)
    )
    request = HoldModel(
        model=body.model,
        keep_alive=keep_alive_from(body.keep_alive),
        options=options,
        warnings=(*warnings, *more, *strays),
    )
    return _asked(request, shape, body)


def _read_controls(body: _GenerationBody) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What generate and chat have in common, and warnings."""
    options, warnings = read_options(body.options)
    if not 0 <= body.top_logprobs <= 20:
        raise BadRequest("top_logprobs must be between 0 and 20", param="top_logprobs")
    if body.top_logprobs and not body.logprobs:
        warnings += ("field 'top_logprobs' was ignored: it needs logprobs to be true",)
    controls = {
        "model": body.model,
        "options": options,
        "json_schema": read_json_schema(body.format),
        "think": read_think(body.think),
        "truncate": body.truncate,
        "shift": body.shift,
        "logprobs": body.top_logprobs if body.logprobs else None,
        "keep_alive": keep_alive_from(body.keep_alive),
        "render_only": body.render_only,
        "retrieve": body.retrieve,
    }
    return controls, warnings


def read_think(value: Any) -> Any:
    """A boolean, a level, or None where the model's habit decides. Raises BadRequest."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and value in ("low", "medium", "high", "max"):
        return value
    shown = quote(value)[1:-1] if isinstance(value, str) else type(value).__name__
    raise BadRequest(
        f'invalid think value: "{shown}" (must be "high", "medium", "low", "max", true, or false)',
        param="think",
    )


def check_token(token: int, name: str) -> None:
    """Raises BadRequest for a number that can be no token's id."""
    check_integer(token, name)
    if not 0 <= token < 2**31:
        raise BadRequest(f"{name} holds a number that is no token id", param=name)
