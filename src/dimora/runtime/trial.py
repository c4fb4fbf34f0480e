"""Times one loaded model: reading, the same beginning again, writing, several answers at once.

Every engine gets the same prompts in the same order, none with a beginning that came before, and
the best of the rounds counts: what disturbs a machine makes it slower, never faster. Of answers
it is the middle one. All that would take long is shortened, and says so.
"""

from __future__ import annotations

import asyncio
import random
import re
import statistics
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Protocol

import msgspec

from dimora.core.errors import InternalError
from dimora.prompts.prompt import Prompt
from dimora.tasks.base import Embedded, Finish, TextsToEmbed, Token
from dimora.tasks.options import Options, Sampling, sampling_from
from dimora.tasks.profile import TYPICAL_READ_TOKENS, Figures

_SENTENCES = re.compile(r"(?<=[.!?])\s+")
_SEED = 1
_PROBE_TOKENS = 64
# The new question behind text that was read before. Words of the text in its place would be gone on
# with as they stand there, which engines that guess write several times as fast as an answer.
_QUESTION = " Question {number}: what would surprise a stranger in this town, and why? Answer:"
_QUESTION_TOKENS = 24
# Fewer tell nothing of a speed. A model that ends its answer earlier is asked again.
_LEAST_WRITTEN = 8
_TRIES = 4
_SHORTEST_STREAM, _LONGEST_STREAM = 16, 128
_PASSAGE_TOKENS = 128
_LONGEST_BATCH = 32
# Nothing that is timed may take longer; a step is shortened long before that.
_STEP_SECONDS = 120.0


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured: tokens at most, and the seconds each part may take. What took less is
    done again, in so many rounds."""

    read_tokens: int = TYPICAL_READ_TOKENS
    read_seconds: float = 8.0
    rounds: int = 3
    written_tokens: int = 128
    written_seconds: float = 6.0
    stream_tokens: int = 64
    stream_seconds: float = 10.0


QUICK = Effort(
    read_tokens=TYPICAL_READ_TOKENS // 4,
    read_seconds=2.0,
    rounds=1,
    written_tokens=32,
    written_seconds=2.0,
    stream_tokens=24,
    stream_seconds=3.0,
)


class Tried(Protocol):
    """A loaded model that is timed."""

    engine: str
    version: str
    num_ctx: int
    load_seconds: float

    def generate(
        self, prompt: Prompt, sampling: Sampling
    ) -> AsyncGenerator[Token | Finish, None]: ...

    async def embed(self, wanted: TextsToEmbed) -> Embedded: ...

    async def tokenize(self, text: str, *, add_special: bool = True) -> list[int]: ...

    def memory_bytes(self) -> int: ...


class _Written(msgspec.Struct):
    """One answer as it came: when its first and last token did, seconds after it was asked for.
    `cut`: its time was over."""

    tokens: int = 0
    first_seconds: float = 0.0
    last_seconds: float = 0.0
    cut: bool = False

    @property
    def rate(self) -> float:
        """Tokens per second after the first one."""
        seconds = self.last_seconds - self.first_seconds
        return (self.tokens - 1) / seconds if seconds > 0 and self.tokens > 1 else 0.0


class Trial:
    """One loaded model's. `text` is what prompts are made of, `streams` answers run at once."""

    def __init__(
        self, loan: Tried, effort: Effort, text: str, *, streams: int, embeds: bool
    ) -> None:
        self._loan = loan
        self._effort = effort
        self._sentences = _SENTENCES.split(" ".join(text.split()))
        self._prompts = 0
        self._streams = streams
        self._embeds = embeds
        # A small window has room for the text, the question and the answer, too.
        self._probe_tokens = min(_PROBE_TOKENS, loan.num_ctx // 2)
        self._question_tokens = max(1, min(_QUESTION_TOKENS, loan.num_ctx // 8))
        self._written_tokens = max(1, min(effort.written_tokens, loan.num_ctx // 4))
        self._stream_tokens = max(1, min(effort.stream_tokens, loan.num_ctx // 4))
        self._notes: list[str] = []
        self._text_tokens: list[int] = []
        self._passage_tokens = 0
        self._read_tokens = 0
        self._read_rate = 0.0
        self._again_seconds = 0.0
        self._written_rate = 0.0
        self._together_rate = 0.0

    def steps(self) -> Iterator[tuple[str, Callable[[], Awaitable[None]]]]:
        """What is to be timed, in this order, each with words for who waits."""
        yield "warming up", lambda: self._within(self._warm_up())
        if self._embeds:
            yield "reading passages", lambda: self._within(self._read_passages())
            return
        yield "reading", lambda: self._within(self._read())
        yield "writing", lambda: self._within(self._write())
        if self._streams > 1:
            words = f"writing {self._streams} answers at once"
            yield words, lambda: self._within(self._write_together())

    def figures(self) -> Figures:
        """After all steps."""
        several = self._streams > 1 and not self._embeds
        return Figures(
            engine=self._loan.engine,
            version=self._loan.version,
            load_seconds=round(self._loan.load_seconds, 3),
            read_tokens=self._read_tokens,
            read_rate=round(self._read_rate, 1),
            again_seconds=round(self._again_seconds, 6),
            written_rate=round(self._written_rate, 1),
            streams=self._streams if several else 0,
            together_rate=round(self._together_rate, 1),
            memory_bytes=self._loan.memory_bytes(),
            writes=not self._embeds,
            notes=tuple(self._notes),
        )

    async def _within(self, step: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(_STEP_SECONDS):
                await step
        except TimeoutError:
            raise InternalError(
                f"it took longer than {_STEP_SECONDS:.0f} s for what should take a few",
                code="too_slow",
            ) from None

    # The steps.

    async def _warm_up(self) -> None:
        """Twice, since engines make ready at the first; the second tells how much to ask for."""
        for _ in range(2):
            count = self._probe_tokens
            started = time.perf_counter()
            if self._embeds:
                count = self._passage_tokens = (await self._loan.embed(self._passages(1))).tokens
            else:
                await self._answer(await self._fresh(count), 2)
            seconds = time.perf_counter() - started
            self._read_rate = count / max(seconds, 1e-6)
            if seconds > self._effort.read_seconds:
                break

    async def _read(self) -> None:
        wanted = self._effort.read_tokens
        in_time = int(self._read_rate * self._effort.read_seconds)
        room = self._loan.num_ctx - self._question_tokens - self._written_tokens - 1
        count = max(1, min(wanted, max(in_time, self._probe_tokens), room))
        if count < min(wanted, room):
            self._notes.append(
                f"it reads slowly: timed with {count} tokens in place of {min(wanted, room)}"
            )
        rates = []
        for _ in self._rounds(self._effort.read_seconds):
            self._text_tokens = await self._fresh(count)
            written = await self._answer(self._text_tokens, 1)
            rates.append(count / max(written.first_seconds, 1e-6))
        self._read_tokens, self._read_rate = count, max(rates)

    async def _write(self) -> None:
        """Behind the text that was read last, with another question each time."""
        rates, firsts = [], []
        started = time.perf_counter()
        for _ in range(self._effort.rounds + _TRIES):
            prompt = [*self._text_tokens, *await self._question()]
            written = await self._answer(prompt, self._written_tokens)
            firsts.append(written.first_seconds)
            if written.tokens >= _LEAST_WRITTEN or written.cut:
                rates.append(written.rate)
            over = time.perf_counter() - started > self._effort.written_seconds
            if len(rates) == self._effort.rounds or (rates and over):
                break
        self._again_seconds = min(firsts)
        # Not the best: an answer is quicker the easier it is to guess.
        self._written_rate = statistics.median(rates) if rates else 0.0
        if not rates:
            self._notes.append("it ended every answer after a few tokens: writing was not timed")

    async def _write_together(self) -> None:
        in_time = self._read_rate * self._effort.stream_seconds / 4 / self._streams
        room = self._loan.num_ctx - self._stream_tokens - 1
        count = max(1, min(max(int(in_time), _SHORTEST_STREAM), _LONGEST_STREAM, room))
        limit = self._effort.stream_seconds
        for _ in self._rounds(limit):
            prompts = [await self._fresh(count) for _ in range(self._streams)]
            started = time.perf_counter()
            answers = await asyncio.gather(
                *(self._answer(tokens, self._stream_tokens, limit) for tokens in prompts)
            )
            seconds = time.perf_counter() - started
            rate = sum(one.tokens for one in answers) / seconds
            self._together_rate = max(rate, self._together_rate)

    async def _read_passages(self) -> None:
        in_time = int(self._read_rate * self._effort.read_seconds / max(self._passage_tokens, 1))
        count = max(1, min(in_time, _LONGEST_BATCH))
        if count < _LONGEST_BATCH:
            self._notes.append(
                f"it reads slowly: timed with {count} passages in place of {_LONGEST_BATCH}"
            )
        rates = []
        for _ in self._rounds(self._effort.read_seconds):
            wanted = self._passages(count)
            started = time.perf_counter()
            embedded = await self._loan.embed(wanted)
            rates.append(embedded.tokens / max(time.perf_counter() - started, 1e-6))
            self._read_tokens = embedded.tokens
        self._read_rate = max(rates)

    def _rounds(self, seconds: float) -> Iterator[None]:
        """One, and more as long as those before took less than that together."""
        started = time.perf_counter()
        for number in range(self._effort.rounds):
            if number and time.perf_counter() - started > seconds:
                return
            yield

    # What is asked, and how long it takes.

    async def _fresh(self, count: int) -> list[int]:
        """So many tokens of a text that begins like none before."""
        tokens = await self._loan.tokenize(self._text(count))
        while len(tokens) < count:
            tokens += await self._loan.tokenize(self._text(count), add_special=False)
        return tokens[:count]

    async def _question(self) -> list[int]:
        """One that was not asked before."""
        self._prompts += 1
        text = _QUESTION.format(number=self._prompts)
        tokens = await self._loan.tokenize(text, add_special=False)
        return tokens[: self._question_tokens]

    def _passages(self, count: int) -> TextsToEmbed:
        """Texts of about as many tokens, of which a word has one or two."""
        window = self._loan.num_ctx
        words = min(_PASSAGE_TOKENS, window // 2) * 3 // 4
        texts = tuple(" ".join(self._text(words).split()[:words]) for _ in range(count))
        return TextsToEmbed(texts=texts, window=window)

    def _text(self, words: int) -> str:
        """At least so many words: the sentences in another order each time, behind a number."""
        self._prompts += 1
        order = random.Random(self._prompts)
        text = [str(order.randrange(1000, 9999))]
        while len(text) < words:
            text += " ".join(order.sample(self._sentences, len(self._sentences))).split()
        return " ".join(text)

    async def _answer(self, tokens: Sequence[int], most: int, seconds: float = 0.0) -> _Written:
        """Read these and write at most so many, as the house writes where nothing is set, for at
        most so long."""
        sampling = sampling_from(Options(num_predict=most, seed=_SEED), shift=False, logprobs=None)
        limit = seconds or self._effort.written_seconds
        written = _Written()
        started = time.perf_counter()
        stream = self._loan.generate(Prompt(tokens=tuple(tokens)), sampling)
        async with aclosing(stream):
            async for item in stream:
                passed = time.perf_counter() - started
                if isinstance(item, Token):
                    written.first_seconds = written.first_seconds or passed
                    written.last_seconds = passed
                    written.tokens += 1
                elif not written.tokens:
                    # It had nothing to say: what was read is read.
                    written.first_seconds = passed
                written.cut = written.tokens > 1 and passed - written.first_seconds > limit
                if written.cut:
                    break
        return written
