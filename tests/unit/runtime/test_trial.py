"""What is asked of an engine that is timed: the same of all, never twice, within bounds."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator

import msgspec
import pytest

from dimora.engines.base import Cancellation
from dimora.engines.echo import Echo
from dimora.prompts.prompt import Prompt
from dimora.runtime.trial import QUICK, Effort, Trial
from dimora.tasks.base import Embedded, Finish, TextsToEmbed, Token
from dimora.tasks.options import Sampling
from dimora.tasks.profile import Figures, typical_seconds

TEXT = "The house is old. Its rooms are many! Who lives there? Nobody knows, but the light is on. "


class Loan:
    """The echo engine without a process; `silent` says nothing after so many tokens."""

    engine = "echo"
    version = "1"
    load_seconds = 0.5

    def __init__(self, num_ctx: int = 4096, silent: int | None = None) -> None:
        self.num_ctx = num_ctx
        self.asked: list[tuple[Prompt, Sampling]] = []
        self.embedded: list[str] = []
        self._silent = silent
        self._engine = Echo(num_ctx)

    async def generate(
        self, prompt: Prompt, sampling: Sampling
    ) -> AsyncGenerator[Token | Finish, None]:
        self.asked.append((prompt, sampling))
        answer = self._engine.generate(prompt, sampling, Cancellation())
        for item in itertools.islice(answer, self._silent):
            yield item

    async def embed(self, wanted: TextsToEmbed) -> Embedded:
        self.embedded += wanted.texts
        return self._engine.embed(wanted, Cancellation())

    async def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        return self._engine.tokenize(text, add_special)

    def memory_bytes(self) -> int:
        return 7


async def run(
    loan: Loan, effort: Effort = QUICK, streams: int = 4, embeds: bool = False
) -> Figures:
    trial = Trial(loan, effort, TEXT * 3, streams=streams, embeds=embeds)
    words = []
    for told, step in trial.steps():
        words.append(told)
        await step()
    assert len(set(words)) == len(words) > 1
    return trial.figures()


async def test_everything_is_timed():
    figures = await run(Loan(), Effort())
    assert (figures.engine, figures.version, figures.load_seconds) == ("echo", "1", 0.5)
    assert (figures.read_tokens, figures.streams, figures.memory_bytes) == (1000, 4, 7)
    rates = (figures.read_rate, figures.again_seconds, figures.written_rate, figures.together_rate)
    assert all(figure > 0 for figure in rates)
    assert figures.notes == ()
    assert 0 < typical_seconds(figures) < 10


async def test_every_engine_is_asked_the_same_and_none_the_same_twice():
    first, second = Loan(), Loan()
    await run(first)
    await run(second)
    assert first.asked == second.asked
    long = [prompt.tokens for prompt, _ in first.asked]
    known = [at for at, tokens in enumerate(long) if tokens[:128] in [t[:128] for t in long[:at]]]
    assert len(known) == QUICK.rounds, "the question behind a text that was read"
    others = [tokens for at, tokens in enumerate(long) if at not in known]
    assert len({tokens[:8] for tokens in others}) == len(others)


async def test_what_is_written_first_does_not_stand_in_the_text_before_it():
    """Or an engine that guesses would be timed at copying."""
    loan = Loan()
    await run(loan, Effort(written_tokens=77))
    asked = [list(prompt.tokens) for prompt, sampling in loan.asked if sampling.num_predict == 77]
    assert len(asked) == Effort().rounds
    for tokens in asked:
        endings = [tokens[at : at + 3] for at in range(len(tokens) - 2)]
        assert endings.index(tokens[-3:]) == len(endings) - 1
    assert len({tuple(tokens[-24:]) for tokens in asked}) == len(asked)


async def test_a_slow_engine_reads_less_and_the_figures_say_so():
    impatient = msgspec.structs.replace(Effort(), read_seconds=1e-9)
    loan = Loan()
    figures = await run(loan, impatient)
    assert figures.read_tokens == 64
    assert "timed with 64 tokens in place of 1000" in figures.notes[0]
    assert max(len(prompt.tokens) for prompt, _ in loan.asked) < 200


@pytest.mark.parametrize("num_ctx", [16, 64, 300, 1024])
async def test_a_small_window_holds_all_that_is_asked(num_ctx: int):
    loan = Loan(num_ctx)
    figures = await run(loan, Effort())
    for prompt, sampling in loan.asked:
        assert prompt.tokens
        assert len(prompt.tokens) + sampling.num_predict <= num_ctx
    assert figures.read_rate > 0


async def test_a_model_that_ends_at_once_has_no_rate_of_writing_and_is_asked_a_few_times():
    loan = Loan(silent=2)
    figures = await run(loan, streams=1)
    assert figures.written_rate == 0 and figures.streams == 0
    assert "writing was not timed" in figures.notes[-1]
    assert len(loan.asked) < 12
    assert typical_seconds(figures) == float("inf")


async def test_an_embedder_reads_passages():
    loan = Loan(512)
    figures = await run(loan, embeds=True)
    assert not figures.writes and figures.written_rate == 0 and figures.streams == 0
    assert figures.read_rate > 0
    assert loan.asked == []
    assert len(set(loan.embedded)) == len(loan.embedded) > 4


async def test_an_answer_that_takes_too_long_is_cut_and_counts_as_far_as_it_came():
    hasty = msgspec.structs.replace(Effort(), written_seconds=1e-9, rounds=1)
    loan = Loan()
    figures = await run(loan, hasty, streams=1)
    assert figures.written_rate > 0 and figures.notes == ()


async def test_a_slow_embedder_gets_fewer_passages_and_the_figures_say_so():
    class Slow(Loan):
        async def embed(self, wanted: TextsToEmbed) -> Embedded:
            await asyncio.sleep(0.05)
            return await super().embed(wanted)

    loan = Slow()
    figures = await run(loan, msgspec.structs.replace(QUICK, read_seconds=0.1), embeds=True)
    (note,) = figures.notes
    assert "passages in place of 32" in note
    # Two to warm up; those that are timed are as many as the time has room for.
    assert 3 <= len(loan.embedded) <= 6
