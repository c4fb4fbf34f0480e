"""Drives a paged decoder: one thread, all answers at once, some tokens of each in every step.

Answers that are being written come first in a step, one token each and a few that are guessed;
the room that is left is for prompts, in the order they came. Requests and cancellations go through
an inbox, and each request reads its own outbox.
"""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from dimora.core.errors import DimoraError, InternalError, WorkerDied
from dimora.engines._guesses import Guesses
from dimora.engines._kv_blocks import Blocks
from dimora.engines._openvino_network import Row
from dimora.engines._sampling import Sampler, log_probabilities
from dimora.engines._step_costs import LEAST_TOKENS, Pace, StepCosts
from dimora.tasks.base import TopToken
from dimora.tasks.options import Sampling

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    from dimora.engines._constraints import Constraint
    from dimora.engines._openvino_paged import PagedDecoder

# With guesses a step that writes has at most so many rows.
_MOST_ROWS = 16


class Chosen(NamedTuple):
    """A token of an answer. Without `logprob` where none was asked for."""

    id: int
    logprob: float | None = None
    top: tuple[TopToken, ...] = ()


class News(NamedTuple):
    """What a step brought. `ended` is empty, `stop` or `length`."""

    chosen: Sequence[Chosen]
    ended: str
    cached_tokens: int


class Ask:
    """A request on its way through the driver."""

    def __init__(
        self,
        tokens: Sequence[int],
        sampling: Sampling,
        limit: int,
        *,
        ends: frozenset[int],
        scope: str = "",
        constraint: Constraint | None = None,
    ) -> None:
        self.tokens = tokens
        self.sampling = sampling
        self.limit = limit
        self.ends = ends
        self.scope = scope
        self.constraint = constraint
        self.outbox: queue.SimpleQueue[News | Exception] = queue.SimpleQueue()
        self.cancelled = False


class _Answer:
    """An answer in the making: `tokens` are the prompt's and its own, the first `read` of them are
    in the cache."""

    def __init__(self, ask: Ask, blocks: Blocks, context_tokens: int) -> None:
        self.ask = ask
        self.tokens = list(ask.tokens)
        self.guessed: list[int] = []
        self.written = 0
        self.ended = ""
        self._sampler = Sampler(ask.sampling, self.tokens, context_tokens)
        self._guesses = Guesses()
        self._guesses.extend(self.tokens)
        # The last token of a prompt is not read alone, see _plan: so one more is left to read, into
        # a block of its own. Last, as nobody gives back the blocks of one that cannot be made.
        self.held = blocks.begin(ask.scope, self.tokens[:-1])
        self.cached = self.read = self.held.known

    @property
    def is_writing(self) -> bool:
        return self.written > 0

    @property
    def unread(self) -> int:
        return len(self.tokens) - self.read

    @property
    def trust(self) -> float:
        """How likely what it guesses is right."""
        return self._guesses.trust

    def guess(self, most: int) -> None:
        self.guessed = self._guesses.next(min(most, self.ask.limit - self.written - 1))

    def go_on(self, scores: Sequence[NDArray[numpy.float32]]) -> list[Chosen]:
        """What comes after all of `tokens`, and after each of the guesses as long as these are
        right; `scores` has a line for each of these places."""
        came: list[Chosen] = []
        self.read = len(self.tokens)
        right = 0
        forced = self._forced()
        while not self.ended and (forced or right == len(came)):
            chosen = self._take(forced.pop(0)) if forced else self._choose(scores[right])
            if right == len(came) and self.guessed[right : right + 1] == [chosen.id]:
                right += 1
            came.append(chosen)
            self._note(chosen.id)
            forced = forced or self._forced()
        self.read += right
        self._guesses.learn(len(self.guessed), right)
        self._guesses.extend([chosen.id for chosen in came])
        return came

    def _choose(self, scores: NDArray[numpy.float32]) -> Chosen:
        constraint, asked = self.ask.constraint, self.ask.sampling.logprobs
        if constraint is not None:
            constraint.apply(scores)
        id_ = self._sampler.choose(scores)
        if asked is None:
            return Chosen(id_)
        return Chosen(id_, *log_probabilities(scores, id_, asked))

    def _take(self, forced: int) -> Chosen:
        self._sampler.note(forced)
        return Chosen(forced)

    def _forced(self) -> list[int]:
        """Tokens that must come next; none where probabilities are asked for, which takes steps."""
        constraint = self.ask.constraint
        if constraint is None or self.ended or self.ask.sampling.logprobs is not None:
            return []
        return constraint.forced()

    def _note(self, id_: int) -> None:
        self.tokens.append(id_)
        self.written += 1
        if id_ in self.ask.ends:
            self.ended = "stop"
            return
        if self.ask.constraint is not None:
            self.ask.constraint.accept(id_)
            if self.ask.constraint.ended:
                self.ended = "stop"
        if self.written == self.ask.limit and not self.ended:
            self.ended = "length"


class Driver(threading.Thread):
    """The one thread that touches the decoder after it was made."""

    def __init__(self, decoder: PagedDecoder, blocks: Blocks, context_tokens: int) -> None:
        super().__init__(name="driver", daemon=True)
        self._decoder = decoder
        self._blocks = blocks
        self._context_tokens = context_tokens
        self._inbox: queue.SimpleQueue[Ask | None] = queue.SimpleQueue()
        self._answers: list[_Answer] = []
        self._pace = Pace(decoder.tile_tokens)
        self._costs = StepCosts()
        self._failed = False

    def add(self, ask: Ask) -> None:
        self._inbox.put(ask)

    def close(self) -> None:
        self._inbox.put(None)

    def run(self) -> None:
        while True:
            try:
                if not self._take():
                    return
                self._step()
            except Exception as why:  # noqa: BLE001
                # The border of the thread: who waits must hear of it. What the cache holds now is
                # unknown, so that the next request needs another worker. Of what was asked, the
                # trace tells nothing.
                traceback.print_tb(why.__traceback__)
                self._fail_all()

    def _take(self) -> bool:
        """New requests; waits for one when there is nothing to do. False at the end."""
        self._drop([answer for answer in self._answers if answer.ask.cancelled])
        while not self._answers or not self._inbox.empty():
            ask = self._inbox.get()
            if ask is None:
                return False
            if self._failed:
                ask.outbox.put(_engine_failed())
            elif not ask.cancelled:
                self._begin(ask)
        return True

    def _begin(self, ask: Ask) -> None:
        try:
            self._answers.append(_Answer(ask, self._blocks, self._context_tokens))
        except Exception as why:  # noqa: BLE001
            _refuse(ask, why)

    def _step(self) -> None:
        planned = [(answer, self._rows(answer, count)) for answer, count in self._plan()]
        rows = [row for _, some in planned for row in some]
        started = time.perf_counter()
        scores = iter(self._decoder.step(rows))
        seconds = time.perf_counter() - started
        writes = sum(len(some) for answer, some in planned if answer.is_writing)
        reads = sum(len(row.tokens) for row in rows) - writes
        if self._decoder.reads_apart:
            self._pace.note(reads, seconds, self._costs.seconds(writes))
        else:
            self._pace.note(reads + writes, seconds)
        self._costs.note(0 if reads else writes, seconds)
        for answer, some in planned:
            wanted = [next(scores) for row in some if row.wanted]
            if wanted:
                self._go_on(answer, wanted)
            else:
                answer.read += len(some[0].tokens)
            self._blocks.note(answer.held, answer.tokens, answer.read)
        self._drop([answer for answer in self._answers if answer.ended])

    def _go_on(self, answer: _Answer, scores: Sequence[NDArray[numpy.float32]]) -> None:
        try:
            came = answer.go_on(scores)
        except Exception as why:  # noqa: BLE001
            # The border of an answer: its words are its own, what the cache holds is known.
            answer.ended = "stop"
            _refuse(answer.ask, why)
        else:
            answer.ask.outbox.put(News(came, answer.ended, answer.cached))

    def _plan(self) -> Iterator[tuple[_Answer, int]]:
        """Which answers take part in a step, and how many of their unread tokens."""
        writing = [answer for answer in self._answers if answer.is_writing]
        rows = sum(answer.unread for answer in writing)
        for answer in writing:
            most = _MOST_ROWS // len(writing) - answer.unread
            answer.guess(self._costs.best_guess(answer.trust, rows, len(writing), most))
            rows += len(answer.guessed)
            yield answer, answer.unread
        room = self._room(rows)
        for answer in self._answers:
            if not answer.is_writing and room > 1:
                count = min(room, answer.unread)
                # A last token alone would be read in another way than with others.
                count -= answer.unread - count == 1
                room -= count
                yield answer, count

    def _room(self, rows: int) -> int:
        """For tokens of prompts, beside so many rows that are written."""
        if self._decoder.reads_apart:
            return self._pace.tokens(self._costs.seconds(rows))
        return max(self._pace.tokens() - rows, LEAST_TOKENS)

    def _rows(self, answer: _Answer, count: int) -> list[Row]:
        """A prompt is read in long rows. What is written is read in rows of one token each, also
        where several are guessed: so it's the same as if they had come one after the other."""
        tokens = answer.tokens[answer.read : answer.read + count] + answer.guessed
        self._blocks.extend(answer.held, answer.read + len(tokens))
        blocks = answer.held.numbers
        if not answer.is_writing:
            return [Row(tokens, answer.read, blocks, count == answer.unread)]
        return [
            Row([token], answer.read + at, blocks, at >= count - 1)
            for at, token in enumerate(tokens)
        ]

    def _drop(self, answers: Sequence[_Answer]) -> None:
        for answer in answers:
            self._blocks.release(answer.held, answer.tokens, answer.read)
            self._answers.remove(answer)

    def _fail_all(self) -> None:
        self._failed = True
        for answer in self._answers:
            answer.ask.outbox.put(_engine_failed())
        self._answers.clear()


def _refuse(ask: Ask, why: Exception) -> None:
    """It ends, the others go on. Of what was asked, neither the error nor the trace tells."""
    if not isinstance(why, DimoraError):
        traceback.print_tb(why.__traceback__)
        why = InternalError("the engine failed at this answer", hint="ask again")
    ask.outbox.put(why)


def _engine_failed() -> WorkerDied:
    return WorkerDied("the engine failed", hint="ask again")
