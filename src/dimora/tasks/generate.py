"""Continue a prompt."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import msgspec

from dimora.core.errors import BadRequest
from dimora.core.types import Event, Image, Message, Part, Text
from dimora.prompts.chat import RenderedChat, render_chat
from dimora.prompts.fill_in_middle import render_fill_in_middle
from dimora.prompts.prompt import Prompt
from dimora.prompts.reading import AnswerReader
from dimora.prompts.schema import check_schema
from dimora.tasks.base import Model, Right, Rooms
from dimora.tasks.constrained import write_constrained
from dimora.tasks.conversation import source_of
from dimora.tasks.generation import GenerationDone, GenerationRequest, Rendered, TextPiece
from dimora.tasks.grounding import Grounding, grounding_of
from dimora.tasks.options import Options
from dimora.tasks.writing import (
    Writer,
    check_common,
    check_features,
    fit_text,
    refuse_hopeless,
    require,
    sampling_of,
    window_of,
)

RIGHT: Right = "use"


class Generate(GenerationRequest, frozen=True, kw_only=True, tag="generate"):
    """`raw`: the prompt is not templated. `suffix`: fill in the middle, between prompt and suffix.
    `system`: instead of the model's own. `template`: a Jinja or Go template instead of the model's.
    `context`: token ids of an earlier answer, put before the prompt.
    `want_context`: return such ids. `echo`: the answer repeats the prompt first.
    """

    prompt: str
    suffix: str = ""
    system: str | None = None
    template: str | None = None
    images: tuple[bytes, ...] = ()
    context: tuple[int, ...] = ()
    raw: bool = False
    want_context: bool = False
    echo: bool = False

    @property
    def has_images(self) -> bool:
        return bool(self.images)


async def run(request: Generate, rooms: Rooms) -> AsyncIterator[Event]:
    """TextPiece and ThoughtPiece events, then GenerationDone."""
    started = time.monotonic()
    model = rooms.models.find(request.model)
    _check(request, model)
    options = request.options.over(model.options)
    grounding = _grounding(request, model, rooms)
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
        refuse_hopeless(request.prompt, window_of(loan, options))
        if grounding is not None:
            budget = window_of(loan, options) // 2
            prompt = await grounding.quote(request.prompt, loan, budget)
            request = msgspec.structs.replace(request, prompt=prompt)
        rendered = _render(model, request)
        if request.render_only:
            yield Rendered(prompt=rendered.text)
            yield GenerationDone(warnings=request.warnings)
            return
        writer = Writer(loan, request, queue_started=started)
        writer.warnings += grounding.warnings if grounding is not None else ()
        async with aclosing(_steps(writer, rendered, options, request, grounding)) as steps:
            async for event in steps:
                yield event
        context: list[int] = []
        if request.want_context and not request.raw:
            # What begins a text stands before the first of all prompts, and nowhere else.
            asked = await loan.tokenize(rendered.text, add_special=not request.context)
            context = [*request.context, *asked, *writer.token_ids]
        yield writer.done(context=context)


async def _steps(
    writer: Writer,
    rendered: RenderedChat,
    options: Options,
    request: Generate,
    grounding: Grounding | None,
) -> AsyncGenerator[Event, None]:
    """The answer itself."""
    if request.echo:
        # What this refuses is refused before the first word.
        sampling_of(options, request)
    prompt = await _fitted(writer, rendered, options, request)
    if request.echo:
        yield TextPiece(text=request.prompt)
    constrained = request.json_schema is not None and not request.raw
    write = write_constrained if constrained else _write
    steps = write(writer, prompt, rendered, options, request)
    if grounding is not None:
        steps = grounding.cited(steps, verbatim=request.json_schema is not None)
    async with aclosing(steps):
        async for event in steps:
            yield event


def _grounding(request: Generate, model: Model, rooms: Rooms) -> Grounding | None:
    """Only of a prompt that is a question, not of a text to be gone on with."""
    if request.raw or request.suffix or request.echo:
        return None
    return grounding_of(rooms, model, request, request.prompt)


def _check(request: Generate, model: Model) -> None:
    check_common(request)
    require(model, "completion", "generate")
    if request.suffix:
        require(model, "insert", "insert")
    if request.has_images:
        require(model, "vision", "vision")
    if request.think:
        require(model, "thinking", "thinking")
    if request.raw and (request.template or request.system or request.context):
        raise BadRequest("raw mode does not support template, system, or context", param="raw")
    if request.json_schema is not None:
        check_schema(request.json_schema)


def _render(model: Model, request: Generate) -> RenderedChat:
    if request.suffix:
        before, after, middle = model.fim
        text = render_fill_in_middle((before, after, middle), request.prompt, request.suffix)
        return RenderedChat(text=text, thinking=None, thought_open=False, tool_format="")
    if request.raw:
        return RenderedChat(text=request.prompt, thinking=None, thought_open=False, tool_format="")
    source = source_of(model)
    if request.template is not None:
        source = msgspec.structs.replace(source, template=request.template, chat_template="")
    messages: list[Message] = []
    if system := (model.system if request.system is None else request.system):
        messages.append(Message("system", (Text(system),)))
    if not request.context:
        messages.extend(model.messages)
    parts: tuple[Part, ...] = (
        Text(request.prompt),
        *(Image(data) for data in request.images),
    )
    messages.append(Message("user", parts))
    return render_chat(source, messages, think=request.think)


async def _fitted(
    writer: Writer, rendered: RenderedChat, options: Options, request: Generate
) -> Prompt:
    """The earlier answer's context and the new prompt, as far as both fit."""
    prompt = Prompt(text=rendered.text)
    if request.context:
        tokens = (*request.context, *await writer.loan.tokenize(rendered.text, add_special=False))
        prompt = msgspec.structs.replace(prompt, tokens=tokens)
    fitted = await fit_text(writer.loan, prompt, options, request)
    writer.original_tokens = fitted.original_tokens
    return fitted.prompt


async def _write(
    writer: Writer, prompt: Prompt, rendered: RenderedChat, options: Options, request: Generate
) -> AsyncGenerator[Event, None]:
    prompt = msgspec.structs.replace(prompt, json_schema=request.json_schema)
    reader = AnswerReader(
        thinking=rendered.thinking,
        thought_open=rendered.thought_open,
        tool_format="",
        tool_names=frozenset(),
    )
    sampling = sampling_of(options, request)
    steps = writer.write(prompt, sampling, reader)
    async with aclosing(steps):
        async for event in steps:
            yield event
    writer.check_schema()
