"""Write an answer that a JSON Schema holds, after the thought of a model that thinks.

Shared by chat and generate. Not a task itself.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from dimora.core.types import Event
from dimora.prompts.chat import RenderedChat
from dimora.prompts.prompt import Prompt
from dimora.prompts.reading import AnswerReader
from dimora.tasks.generation import GenerationRequest, TextPiece
from dimora.tasks.options import Options
from dimora.tasks.writing import Writer, sampling_of


def plain_reader() -> AnswerReader:
    """Reads everything as text."""
    return AnswerReader(thinking=None, thought_open=False, tool_format="", tool_names=frozenset())


def close_thought(rendered: RenderedChat, thought: str = "") -> str:
    """What goes after the prompt for its thought (what there is of it) to be ended."""
    if rendered.thinking is None or not (rendered.thought_open or thought):
        return ""
    opening = "" if rendered.thought_open else rendered.thinking.open
    return f"{opening}{thought}{rendered.thinking.close}\n\n"


async def write_constrained(
    writer: Writer,
    prompt: Prompt,
    rendered: RenderedChat,
    options: Options,
    request: GenerationRequest,
) -> AsyncGenerator[Event, None]:
    """A thought first, unconstrained, where the model thinks; then text the grammar holds.

    `prompt` is `rendered` with what goes before it, as far as it fits. Both runs together write no
    more than `num_predict` tokens.
    """
    sampling = sampling_of(options, request)
    thought = ""
    if rendered.thinking is not None and request.think is not False:
        thinking = _write_thought(writer, prompt, rendered, options, request)
        async with aclosing(thinking):
            async for event in thinking:
                yield event
                thought += getattr(event, "text", "")
        left = sampling.num_predict - writer.output_tokens
        if sampling.num_predict > 0 and left <= 0:
            writer.reason = "length"
        if writer.reason == "length":
            writer.check_schema()
            return
        if sampling.num_predict > 0:
            sampling = msgspec.structs.replace(sampling, num_predict=left)
    prompt = await _longer(writer, prompt, close_thought(rendered, thought))
    prompt = msgspec.structs.replace(prompt, json_schema=request.json_schema)
    steps = writer.write(prompt, sampling, plain_reader())
    async with aclosing(steps):
        async for event in steps:
            yield event
    writer.check_schema()


async def _longer(writer: Writer, prompt: Prompt, text: str) -> Prompt:
    """The prompt with a text after it, as tokens where it is given as tokens."""
    tokens = prompt.tokens
    if tokens and text:
        tokens = (*tokens, *await writer.loan.tokenize(text, add_special=False))
    return msgspec.structs.replace(prompt, text=prompt.text + text, tokens=tokens)


async def _write_thought(
    writer: Writer,
    prompt: Prompt,
    rendered: RenderedChat,
    options: Options,
    request: GenerationRequest,
) -> AsyncGenerator[Event, None]:
    """The thought alone; nothing when the model begins to answer without one."""
    if rendered.thinking is None:
        return
    sampling = msgspec.structs.replace(
        sampling_of(options, request), stop=(rendered.thinking.close,), logprobs=None
    )
    reader = AnswerReader(
        thinking=rendered.thinking,
        thought_open=rendered.thought_open,
        tool_format="",
        tool_names=frozenset(),
    )
    stream = writer.write(prompt, sampling, reader)
    async with aclosing(stream):
        async for event in stream:
            if isinstance(event, TextPiece):
                writer.text = ""
                writer.token_ids.clear()
                return
            yield event
