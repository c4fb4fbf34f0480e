"""What a prompt becomes on its way to an engine, and what is refused before."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from dimora.core.errors import BadRequest
from dimora.core.types import Queued
from dimora.prompts.chat import RenderedChat
from dimora.prompts.prompt import Prompt
from dimora.tasks.base import Finish, Model, ModelDetails, ModelSummary, Token
from dimora.tasks.generate import Generate, _steps, run
from dimora.tasks.generation import Fold
from dimora.tasks.options import Options, Sampling


async def test_a_prompt_is_not_echoed_before_its_options_are_checked() -> None:
    request = Generate(model="m", prompt="a", raw=True, echo=True)
    rendered = RenderedChat(text="a", thinking=None, thought_open=False, tool_format="")
    writer: Any = None
    steps = _steps(writer, rendered, Options(repeat_penalty=0.0), request, None)
    with pytest.raises(BadRequest, match="repeat_penalty"):
        await anext(steps)


class Rooms:
    """A model that is there at once and says one word. What begins a text is token 1."""

    engine, num_ctx, features = "fake", 1000, frozenset({"generate"})
    queue_seconds = load_seconds = 0.0
    default_embedder = ""

    def __init__(self) -> None:
        self.models = self.loan = self

    def find(self, name: str) -> Model:
        summary = ModelSummary(
            name=name,
            digest="0" * 64,
            size_bytes=1,
            modified_at=0.0,
            details=ModelDetails(),
            capabilities=("completion",),
        )
        return Model(summary=summary, weights_digest="", chat_template="{{ messages[0].content }}")

    def reserve(self, model: Model, options: Options, **how: Any) -> Rooms:
        return self

    async def __aenter__(self) -> Rooms:
        return self

    async def __aexit__(self, *exc: object) -> None: ...

    async def wait(self) -> AsyncGenerator[Queued, None]:
        for place in ():
            yield place

    async def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        return [*([1] if add_special else []), *(ord(c) for c in text)]

    async def generate(
        self, prompt: Prompt, sampling: Sampling
    ) -> AsyncGenerator[Token | Finish, None]:
        yield Token(7, "word")
        yield Finish(reason="stop", output_tokens=1)


async def test_what_begins_a_text_stands_once_in_a_context() -> None:
    rooms: Any = Rooms()
    context: tuple[int, ...] = ()
    for _ in range(3):
        asked = Generate(model="m", prompt="a", context=context, want_context=True)
        context = Fold.of([event async for event in run(asked, rooms)]).done.context
    assert context == (1, ord("a"), 7, ord("a"), 7, ord("a"), 7)
