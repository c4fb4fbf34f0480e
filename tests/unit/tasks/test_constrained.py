"""A thought, then text that a schema holds: two runs that are one answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from dimora.core.types import Event
from dimora.prompts.chat import RenderedChat
from dimora.prompts.prompt import Prompt
from dimora.prompts.thinking import Thinking
from dimora.tasks.base import Finish, Token
from dimora.tasks.constrained import write_constrained
from dimora.tasks.generate import Generate
from dimora.tasks.generation import Fold
from dimora.tasks.options import Options, Sampling
from dimora.tasks.writing import Writer

RENDERED = RenderedChat(
    text="Why?", thinking=Thinking("<think>", "</think>"), thought_open=False, tool_format=""
)
PROMPT = Prompt(text=RENDERED.text)


class Loan:
    """Writes one text for each run, a token a word, within the limit; keeps what it was given.
    Its tokens are characters."""

    queue_seconds = load_seconds = 0.0

    def __init__(self, *texts: str) -> None:
        self._texts = list(texts)
        self.runs: list[tuple[Prompt, Sampling]] = []

    async def generate(
        self, prompt: Prompt, sampling: Sampling
    ) -> AsyncGenerator[Token | Finish, None]:
        self.runs.append((prompt, sampling))
        words = self._texts.pop(0).split()
        limit = sampling.num_predict if sampling.num_predict >= 0 else len(words)
        for at, word in enumerate(words[:limit]):
            yield Token(at, word + " ")
        written = min(limit, len(words))
        reason: Any = "length" if len(words) > limit else "stop"
        yield Finish(reason=reason, output_tokens=written)

    async def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        return [*([0] if add_special else []), *(ord(c) for c in text)]


async def write(
    loan: Loan, *, num_predict: int = -1, prompt: Prompt = PROMPT
) -> tuple[Fold, Writer]:
    request = Generate(model="m", prompt="Why?", json_schema={"type": "object"})
    lent: Any = loan
    writer = Writer(lent, request, queue_started=0.0)
    options = Options(num_predict=num_predict)
    events: list[Event] = [
        e async for e in write_constrained(writer, prompt, RENDERED, options, request)
    ]
    return Fold.of([*events, writer.done()]), writer


async def test_the_thought_is_closed_after_the_prompt() -> None:
    loan = Loan("<think> so", "{}")
    fold, _ = await write(loan)
    assert (fold.thought, fold.text) == ("so ", "{} ")
    (first, _), (second, _) = loan.runs
    assert (first.text, first.json_schema) == ("Why?", None)
    assert (second.text, second.json_schema) == (
        "Why?<think>so </think>\n\n",
        {"type": "object"},
    )


async def test_a_prompt_of_tokens_is_gone_on_with_as_tokens() -> None:
    loan = Loan("<think> so", "{}")
    await write(loan, prompt=Prompt(text="Why?", tokens=(5, 6, 7)))
    (first, _), (second, _) = loan.runs
    assert first.tokens == (5, 6, 7)
    assert second.tokens == (5, 6, 7, *(ord(c) for c in "<think>so </think>\n\n"))


async def test_both_runs_together_write_no_more_than_was_asked_for() -> None:
    loan = Loan("<think> a b c", '{"a": 1, "b": 2, "c": 3, "d": 4}')
    fold, writer = await write(loan, num_predict=7)
    assert [sampling.num_predict for _, sampling in loan.runs] == [7, 3]
    assert (fold.done.reason, writer.output_tokens) == ("length", 7)
    assert any("incomplete" in warning for warning in fold.done.warnings)


async def test_a_thought_that_took_all_there_was_is_the_whole_answer() -> None:
    loan = Loan("<think> a b c")
    fold, _ = await write(loan, num_predict=4)
    assert (fold.done.reason, fold.text) == ("length", "")
    assert len(loan.runs) == 1


async def test_words_that_were_no_thought_count_for_nothing() -> None:
    loan = Loan("Well, I say", "{}")
    fold, writer = await write(loan, num_predict=5)
    assert [sampling.num_predict for _, sampling in loan.runs] == [5, 5]
    assert (fold.text, writer.token_ids) == ("{} ", [0])
