"""Answer a conversation."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Literal

from dimora.core.errors import BadRequest
from dimora.core.types import Event, Image, Message, Tool
from dimora.prompts.forcing import force_call, read_forced
from dimora.prompts.prompt import Prompt
from dimora.prompts.reading import AnswerReader
from dimora.prompts.schema import check_schema
from dimora.tasks.base import Model, Right, Rooms
from dimora.tasks.constrained import close_thought, plain_reader, write_constrained
from dimora.tasks.conversation import Conversation, fit_conversation, opening_messages
from dimora.tasks.generation import GenerationDone, GenerationRequest, Rendered, TextPiece
from dimora.tasks.grounding import grounding_of, question_of
from dimora.tasks.options import Options
from dimora.tasks.writing import (
    Writer,
    check_common,
    check_features,
    require,
    sampling_of,
    window_of,
)

RIGHT: Right = "use"


class Chat(GenerationRequest, frozen=True, kw_only=True, tag="chat"):
    """`tool_choice`: `auto`, `none`, `required`, or `named` with `tool_name`."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: Literal["auto", "none", "required", "named"] = "auto"
    tool_name: str = ""
    parallel_tool_calls: bool = True

    @property
    def has_images(self) -> bool:
        return any(isinstance(p, Image) for m in self.messages for p in m.parts)


async def run(request: Chat, rooms: Rooms) -> AsyncIterator[Event]:
    """TextPiece, ThoughtPiece and CallPiece events, then GenerationDone."""
    started = time.monotonic()
    model = rooms.models.find(request.model)
    _check(request, model)
    options = request.options.over(model.options)
    grounding = grounding_of(rooms, model, request, question_of(request.messages))
    if grounding is not None:
        async for event in grounding.look():
            yield event
    async with rooms.reserve(
        model, options, keep_alive=request.keep_alive, batch=request.batch
    ) as reservation:
        async for place in reservation.wait():
            yield place
        loan = reservation.loan
        check_features(loan, options, request)
        tools = request.tools if request.tool_choice != "none" else ()
        messages = opening_messages(model, request.messages)
        if grounding is not None:
            budget = window_of(loan, options) // 2
            messages = await grounding.quote_in(messages, loan, budget, has_tools=bool(tools))
        conversation = await fit_conversation(loan, model, options, request, messages, tools)
        if request.render_only:
            yield Rendered(prompt=conversation.rendered.text)
            yield GenerationDone(warnings=request.warnings)
            return
        writer = Writer(loan, request, queue_started=started)
        writer.original_tokens = conversation.original_tokens
        writer.warnings += grounding.warnings if grounding is not None else ()
        if request.tool_choice in ("required", "named"):
            steps = _write_forced_call(writer, conversation, options, request)
        elif request.json_schema is not None:
            prompt = Prompt(text=conversation.rendered.text)
            steps = write_constrained(writer, prompt, conversation.rendered, options, request)
        else:
            steps = _write_free(writer, conversation, options, request)
        if grounding is not None:
            steps = grounding.cited(steps, verbatim=request.json_schema is not None)
        async with aclosing(steps):
            async for event in steps:
                yield event
        yield writer.done()


def _check(request: Chat, model: Model) -> None:
    check_common(request)
    require(model, "completion", "chat")
    if request.has_images:
        require(model, "vision", "vision")
    if request.think:
        require(model, "thinking", "thinking")
    if request.tools and request.tool_choice == "auto":
        require(model, "tools", "tools")
    if request.tool_choice in ("required", "named") and not request.tools:
        raise BadRequest("tool_choice needs tools to choose from", param="tool_choice")
    if request.tool_choice == "named" and request.tool_name not in {t.name for t in request.tools}:
        raise BadRequest("tool_choice names a tool that is not in tools", param="tool_choice")
    if request.json_schema is not None:
        check_schema(request.json_schema)


def _write_free(
    writer: Writer, conversation: Conversation, options: Options, request: Chat
) -> AsyncGenerator[Event, None]:
    rendered = conversation.rendered
    names = frozenset(t.name for t in request.tools) if request.tool_choice != "none" else None
    reader = AnswerReader(
        thinking=rendered.thinking,
        thought_open=rendered.thought_open,
        tool_format=rendered.tool_format,
        tool_names=names or frozenset(),
        schemas={t.name: t.parameters for t in request.tools},
    )
    prompt = Prompt(text=rendered.text)
    return writer.write(prompt, sampling_of(options, request), reader)


async def _write_forced_call(
    writer: Writer, conversation: Conversation, options: Options, request: Chat
) -> AsyncGenerator[Event, None]:
    """One call, which the grammar leaves no way around."""
    rendered = conversation.rendered
    name = request.tool_name if request.tool_choice == "named" else ""
    forced = force_call(rendered.tool_format, request.tools, name)
    text = rendered.text + close_thought(rendered) + forced.prefill
    prompt = Prompt(text=text, json_schema=forced.json_schema)
    answer = ""
    steps = writer.write(prompt, sampling_of(options, request), plain_reader())
    async with aclosing(steps):
        async for event in steps:
            if isinstance(event, TextPiece):
                answer += event.text
    if writer.reason == "length":
        raise BadRequest(
            "the tool call was cut by the length limit",
            hint="allow more output tokens",
            code="tool_call_cut",
        )
    called, arguments = read_forced(rendered.tool_format, answer)
    for event in writer.call(called, arguments):
        yield event
