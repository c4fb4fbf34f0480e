"""What chat and generate have in common: their controls, the pieces of their answers.

Not a task itself.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from dimora.core.types import Done, Event, Message, Request, Tool, ToolCall
from dimora.tasks.base import Token
from dimora.tasks.knowing import Citation
from dimora.tasks.options import Options

ThinkLevel = Literal["low", "medium", "high", "max"]


class GenerationRequest(Request, frozen=True, kw_only=True):
    """The controls of an answer.

    `json_schema`: the answer must match it; `{"type": "object"}` for any JSON object.
    `think`: None leaves it to the model's habit (thinking models think); a level where the model
    knows levels. `truncate`: drop the oldest turns when the prompt is too long, else PromptTooLong.
    `shift`: go on past a full window by forgetting, else end with `length`.
    `logprobs`: None for none, else alternatives per token (0: only the token's own).
    `render_only`: answer with the rendered prompt and run nothing. `retrieve`: a model with
    documents answers from them.
    """

    options: Options = Options()
    json_schema: dict[str, Any] | None = None
    think: bool | ThinkLevel | None = None
    truncate: bool = True
    shift: bool = True
    logprobs: int | None = None
    keep_alive: float | None = None
    render_only: bool = False
    retrieve: bool = True

    @property
    def has_images(self) -> bool:
        return False


class TextPiece(Event, frozen=True, kw_only=True, tag="text"):
    """Visible text. `tokens` carry log-probabilities when they were asked for."""

    text: str
    tokens: tuple[Token, ...] = ()


class ThoughtPiece(Event, frozen=True, kw_only=True, tag="thought"):
    text: str


class CallPiece(Event, frozen=True, kw_only=True, tag="tool_call"):
    """One whole tool call, in the order the model made them; `index` counts from 0."""

    index: int
    call: ToolCall


class Rendered(Event, frozen=True, kw_only=True, tag="rendered"):
    """The prompt a `render_only` request would have run."""

    prompt: str


class GenerationDone(Done, frozen=True, kw_only=True, tag="generation_done"):
    """`reason`: stop, length, tool_calls, load, unload. `context`: token ids of prompt and answer,
    when asked for. `stop_sequence` is not known to all engines and not reported."""

    context: tuple[int, ...] = ()


class Fold(msgspec.Struct):
    """A whole answer, gathered from its events; not `ended` where no Done came."""

    text: str = ""
    thought: str = ""
    calls: list[ToolCall] = []
    tokens: list[Token] = []
    citations: list[Citation] = []
    rendered: str | None = None
    done: GenerationDone = GenerationDone()
    ended: bool = False

    @classmethod
    def of(cls, events: list[Event] | tuple[Event, ...]) -> Fold:
        fold = cls()
        for event in events:
            match event:
                case TextPiece(text=text, tokens=tokens):
                    fold.text += text
                    fold.tokens.extend(tokens)
                case ThoughtPiece(text=text):
                    fold.thought += text
                case CallPiece(call=call):
                    fold.calls.append(call)
                case Citation():
                    fold.citations.append(event)
                case Rendered(prompt=prompt):
                    fold.rendered = prompt
                case GenerationDone():
                    fold.done, fold.ended = event, True
                case _:
                    pass
        return fold


__all__ = [
    "CallPiece",
    "Fold",
    "GenerationDone",
    "GenerationRequest",
    "Message",
    "Rendered",
    "TextPiece",
    "ThinkLevel",
    "ThoughtPiece",
    "Tool",
]
