"""How an answer is put together."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from dimora.core.errors import UnsupportedFeature
from dimora.core.types import Image, Message
from dimora.prompts.prompt import Prompt
from dimora.prompts.reading import AnswerReader
from dimora.tasks.base import Finish, Token
from dimora.tasks.chat import Chat
from dimora.tasks.generate import Generate
from dimora.tasks.generation import GenerationRequest
from dimora.tasks.options import Options, Sampling
from dimora.tasks.writing import Writer, check_features


class Loan:
    """An engine that held back the end of a text, and tells it with no token of its own."""

    async def generate(
        self, prompt: Prompt, sampling: Sampling
    ) -> AsyncGenerator[Token | Finish, None]:
        yield Token(7, "on")
        yield Token(8, "")
        yield Token(-1, "ce")
        yield Finish(reason="stop", output_tokens=2)


async def test_text_without_a_token_is_told_and_leaves_no_id() -> None:
    loan: Any = Loan()
    writer = Writer(loan, Generate(model="m", prompt="a"), queue_started=0.0)
    reader = AnswerReader(thinking=None, thought_open=False, tool_format="", tool_names=frozenset())
    async for _ in writer.write(Prompt(text="a"), Sampling(), reader):
        pass
    assert writer.text == "once"
    assert writer.token_ids == [7, 8]


@pytest.mark.parametrize(
    "request_",
    [
        Chat(model="m", messages=(Message("user", (Image(b"png"),)),)),
        Generate(model="m", prompt="what is it?", images=(b"png",)),
    ],
    ids=["chat", "generate"],
)
def test_images_are_refused_where_the_engine_would_not_see_them(
    request_: GenerationRequest,
) -> None:
    loan: Any = Loan()
    loan.engine, loan.features = "blind", frozenset({"generate"})
    with pytest.raises(UnsupportedFeature, match="images"):
        check_features(loan, Options(), request_)
    loan.features = frozenset({"generate", "images"})
    check_features(loan, Options(), request_)
