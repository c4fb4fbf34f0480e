"""Turn messages into a prompt that fits the window.

Shared by chat and generate. Not a task itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec

from dimora.core.errors import PromptTooLong
from dimora.core.types import Message, Text, Tool, ToolCall
from dimora.prompts.chat import RenderedChat, TemplateSource, render_chat
from dimora.prompts.truncation import turns_to_drop
from dimora.tasks.base import Loan, Model
from dimora.tasks.generation import GenerationRequest
from dimora.tasks.options import Options
from dimora.tasks.writing import (
    BYTES_PER_TOKEN_AT_MOST,
    TOO_LONG,
    refuse_hopeless,
    room_for_answer,
    surely_fits,
    window_of,
)


def source_of(model: Model) -> TemplateSource:
    """What the prompts room needs to know of a model."""
    return TemplateSource(
        chat_template=model.chat_template,
        template=model.template,
        architecture=model.architecture,
        bos_token=model.bos_token,
        eos_token=model.eos_token,
    )


def opening_messages(model: Model, messages: Sequence[Message]) -> tuple[Message, ...]:
    """The model's own system text and messages, then the caller's."""
    opening: list[Message] = []
    if model.system and not (messages and messages[0].role == "system"):
        opening.append(Message("system", (Text(model.system),)))
    return (*opening, *model.messages, *messages)


class Conversation(msgspec.Struct):
    """The rendered turns that fit, and how many tokens all turns would have been."""

    rendered: RenderedChat
    original_tokens: int = 0


async def fit_conversation(
    loan: Loan,
    model: Model,
    options: Options,
    request: GenerationRequest,
    messages: Sequence[Message],
    tools: Sequence[Tool] = (),
) -> Conversation:
    """Render; when that is too long, drop the oldest turns but keep system and last message.

    Raises:
        PromptTooLong: it does not fit, and `truncate` is off or what must stay is too long.
    """
    source = source_of(model)

    def render(kept: Sequence[Message]) -> RenderedChat:
        return render_chat(source, kept, tools=tools, think=request.think)

    window = window_of(loan, options)
    refuse_hopeless(messages[-1].text, window)
    messages, forgotten = _drop_hopeless(messages, window)
    rendered = render(messages)
    if not forgotten and surely_fits(rendered.text, window):
        return Conversation(rendered)
    if not forgotten and len(rendered.text) <= window * 8:
        total = len(await loan.tokenize(rendered.text))
        if total < window:
            return Conversation(rendered, total)
    else:
        total = 0
    if not request.truncate:
        raise PromptTooLong(TOO_LONG)
    counts = [len(await loan.tokenize(_words(m), add_special=False)) + 8 for m in messages]
    total = total or sum(counts) + forgotten
    aim = budget = window - room_for_answer(window, options.num_predict)
    while True:
        dropped = _to_drop(messages, counts, budget)
        rendered = render([m for at, m in enumerate(messages) if at not in dropped])
        size = len(await loan.tokenize(rendered.text))
        # What is too much may be tools or the template's own words, which have no count: it is
        # taken from the turns that are there.
        budget = sum(n for at, n in enumerate(counts) if at not in dropped) - (size - aim)
        if size <= aim or _to_drop(messages, counts, budget) == dropped:
            break
    if size >= window:
        raise PromptTooLong(TOO_LONG)
    return Conversation(rendered, total)


# What a token is long, when nobody has the time to count.
_BYTES_PER_TOKEN = 4


def _drop_hopeless(messages: Sequence[Message], window: int) -> tuple[tuple[Message, ...], int]:
    """Leave out the oldest turns that are too far back to fit in any case, unread; and about how
    many tokens they were."""
    sizes = [len(m.text) // BYTES_PER_TOKEN_AT_MOST for m in messages]
    dropped = _to_drop(messages, sizes, window)
    kept = tuple(m for at, m in enumerate(messages) if at not in dropped)
    left_out = sum(len(m.text) for m in messages) - sum(len(m.text) for m in kept)
    return kept, left_out // _BYTES_PER_TOKEN


def _to_drop(messages: Sequence[Message], counts: Sequence[int], budget: int) -> frozenset[int]:
    fixed = [m.role == "system" for m in messages]
    answers = [m.role == "tool" for m in messages]
    return turns_to_drop(counts, fixed, answers, budget)


def _words(message: Message) -> str:
    """What a turn adds to the prompt, about: its visible words, and what it calls."""
    calls = [p.arguments for p in message.parts if isinstance(p, ToolCall)]
    return message.text + "".join(json.dumps(each, ensure_ascii=False) for each in calls)
