"""What is left of a conversation that is longer than the window."""

from __future__ import annotations

from typing import Any

import pytest

from dimora.core.errors import PromptTooLong
from dimora.core.types import Message, Text, Thought, Tool, ToolCall
from dimora.tasks.base import Model, ModelDetails, ModelSummary
from dimora.tasks.conversation import Conversation, fit_conversation
from dimora.tasks.generation import GenerationRequest
from dimora.tasks.options import Options

WINDOW = 1000
TEMPLATE = (
    "{{ tools | tojson }}{% for m in messages %}<{{ m.role }}>"
    "{{ m.reasoning_content }}{{ m.content }}"
    "{% for c in m.tool_calls %}{{ c.function.arguments | tojson }}{% endfor %}\n{% endfor %}"
)
MODEL = Model(
    summary=ModelSummary(
        name="m", digest="0" * 64, size_bytes=1, modified_at=0.0, details=ModelDetails()
    ),
    weights_digest="",
    chat_template=TEMPLATE,
)


class Loan:
    """Its tokens are bytes."""

    num_ctx = WINDOW

    async def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        return list(text.encode())


def turn(number: int, *parts: Any) -> Message:
    return Message("user" if number % 2 == 0 else "assistant", (Text(f"turn {number}. "), *parts))


async def fit(*messages: Message, tools: tuple[Tool, ...] = (), **how: Any) -> Conversation:
    loan: Any = Loan()
    request = GenerationRequest(**how)
    return await fit_conversation(loan, MODEL, Options(), request, messages, tools)


def kept(conversation: Conversation, of: int) -> list[int]:
    return [n for n in range(of) if f"turn {n}." in conversation.rendered.text]


TURNS = [turn(number, Text("x" * 60)) for number in range(21)]


async def test_large_tools_push_old_turns_out_and_leave_room_for_an_answer() -> None:
    tools = (Tool("look", "y" * 400),)
    conversation = await fit(*TURNS, tools=tools)
    size = len(conversation.rendered.text.encode())
    assert WINDOW * 3 // 4 < size <= WINDOW - WINDOW // 8
    assert "y" * 400 in conversation.rendered.text
    numbers = kept(conversation, 21)
    assert numbers == list(range(numbers[0], 21)) and len(numbers) > 2
    assert conversation.original_tokens > WINDOW


async def test_tools_that_fill_the_window_alone_are_too_long() -> None:
    with pytest.raises(PromptTooLong):
        await fit(*TURNS, tools=(Tool("look", "y" * WINDOW),))


async def test_what_fits_the_window_alone_needs_no_room_kept_free() -> None:
    conversation = await fit(*TURNS[:5], turn(6, Text("z" * 900)))
    assert kept(conversation, 7) == [6]


async def test_a_turn_with_a_large_call_is_dropped_and_the_small_ones_after_it_stay() -> None:
    large = turn(1, ToolCall("c", "look", {"page": "p" * 800}))
    conversation = await fit(turn(0), large, *TURNS[2:9])
    assert kept(conversation, 9) == list(range(2, 9))


async def test_thoughts_of_this_turn_push_old_turns_out() -> None:
    thinks = turn(7, Thought("t" * 300), ToolCall("c", "look", {}))
    conversation = await fit(*TURNS[:7], thinks, Message("tool", (Text("seen"),)))
    assert "t" * 300 in conversation.rendered.text
    assert kept(conversation, 8)[-2:] == [6, 7]
    assert len(conversation.rendered.text.encode()) < WINDOW


async def test_nothing_is_dropped_where_the_caller_forbids_it() -> None:
    with pytest.raises(PromptTooLong):
        await fit(*TURNS, tools=(Tool("look", "y" * 400),), truncate=False)
