"""Who is read when, with a decoder that remembers tokens instead of keys and values.

What comes next is told by all tokens before it, read back from its blocks: a block given to two, a
wrong place, or a guess that stays would change every later word.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from dimora.core.errors import InternalError, WorkerDied
from dimora.engines._kv_blocks import Blocks
from dimora.engines._openvino_driver import Ask, Driver, News
from dimora.engines._openvino_network import BLOCK_TOKENS, Row
from dimora.tasks.options import Sampling

WORDS = 60
END = 59
WINDOW = 512
GREEDY = Sampling(temperature=0)


def follows(tokens: Sequence[int]) -> int:
    """Often what followed the same three tokens before, so that guesses are right at times."""
    if len(tokens) < 3:
        return sum(tokens) % 7
    near = 31 * tokens[-1] + 7 * tokens[-2] + tokens[-3]
    return (near + sum(tokens) // 400) % 4


class Remembering:
    """Stands for a model and its cache."""

    def __init__(self, count: int, *, reads_apart: bool) -> None:
        self.reads_apart = reads_apart
        self.tile_tokens = 128 if reads_apart else 64
        self.memory = np.full((count, BLOCK_TOKENS), -1)
        self.blocks = Blocks(count, BLOCK_TOKENS, self.copy_block)
        self.steps: list[list[Row]] = []
        self.fails = False

    def copy_block(self, source: int, target: int) -> None:
        self.memory[target] = self.memory[source]

    def step(self, rows: Sequence[Row]) -> NDArray[np.float32]:
        if self.fails:
            raise RuntimeError("no more")
        self.steps.append(list(rows))
        for row in rows:
            for at, token in enumerate(row.tokens, row.past):
                number = row.blocks[at // BLOCK_TOKENS]
                assert self.blocks._users[number] == 1, "what two have read is never written"
                self.memory[number, at % BLOCK_TOKENS] = token
        scores = []
        for row in rows:
            if row.wanted:
                length = row.past + len(row.tokens)
                whole = [
                    int(self.memory[row.blocks[at // BLOCK_TOKENS], at % BLOCK_TOKENS])
                    for at in range(length)
                ]
                scores.append(np.eye(WORDS, dtype=np.float32)[follows(whole)])
        return np.array(scores, np.float32).reshape(-1, WORDS)


def expected(prompt: Sequence[int], count: int) -> list[int]:
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(follows(tokens))
    return tokens[len(prompt) :]


@pytest.fixture(params=[False, True], ids=["at once", "apart"])
def decoder(request: pytest.FixtureRequest) -> Remembering:
    return Remembering(80, reads_apart=request.param)


@pytest.fixture
def driver(decoder: Remembering) -> Iterator[Driver]:
    driver = Driver(decoder, decoder.blocks, WINDOW)  # type: ignore[arg-type]
    driver.start()
    yield driver
    driver.close()
    driver.join(10)
    assert not driver.is_alive()


def ask(driver: Driver, prompt: Sequence[int], count: int = 40, scope: str = "") -> Ask:
    asked = Ask(prompt, GREEDY, count, ends=frozenset({END}), scope=scope)
    driver.add(asked)
    return asked


def read(asked: Ask) -> tuple[list[int], str, int]:
    ids: list[int] = []
    while True:
        news = asked.outbox.get(timeout=10)
        if isinstance(news, Exception):
            raise news
        ids += [chosen.id for chosen in news.chosen]
        if news.ended:
            return ids, news.ended, news.cached_tokens


def prompt_of(seed: int, length: int) -> list[int]:
    return [int(n) for n in np.random.default_rng(seed).integers(0, 20, length)]


@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 64, 65, 300])
def test_an_answer_follows_from_its_prompt(driver: Driver, length: int) -> None:
    prompt = prompt_of(length, length)
    assert read(ask(driver, prompt))[:2] == (expected(prompt, 40), "length")
    # Once more, from the cache.
    assert read(ask(driver, prompt))[:2] == (expected(prompt, 40), "length")


def test_many_at_once_do_not_disturb_each_other(driver: Driver) -> None:
    common = prompt_of(1, 70)
    prompts = [common + prompt_of(n, 3 * n + 1) for n in range(8)]
    asked = [ask(driver, prompt, 20 + 3 * n) for n, prompt in enumerate(prompts)]
    for n, (prompt, one) in enumerate(zip(prompts, asked, strict=True)):
        assert read(one)[0] == expected(prompt, 20 + 3 * n)


def test_right_guesses_save_steps(driver: Driver, decoder: Remembering) -> None:
    prompt = prompt_of(3, 20)
    assert read(ask(driver, prompt, 200))[0] == expected(prompt, 200)
    assert len(decoder.steps) < 150


def test_what_is_written_is_read_in_rows_of_one(driver: Driver, decoder: Remembering) -> None:
    prompt = prompt_of(4, 90)
    read(ask(driver, prompt, 60))
    read(ask(driver, [*prompt[:64], 1], 2))
    prompts = [row for step in decoder.steps for row in step if row.past < 64]
    assert all(len(row.tokens) > 1 for row in prompts)
    assert all(len(row.tokens) == 1 for step in decoder.steps for row in step if row.past >= 90)


def test_no_more_is_written_than_asked_for(driver: Driver) -> None:
    for count in (1, 2, 5):
        assert len(read(ask(driver, prompt_of(5, 40), count))[0]) == count


def test_the_beginning_of_another_scope_is_read_anew(driver: Driver) -> None:
    prompt = prompt_of(6, 100)
    assert read(ask(driver, prompt, 2, "a"))[2] == 0
    assert read(ask(driver, prompt, 2, "a"))[2] == 96
    assert read(ask(driver, prompt, 2, "b"))[2] == 0


def test_a_question_after_a_known_text_is_read_alone(driver: Driver, decoder: Remembering) -> None:
    text = prompt_of(10, 110)
    read(ask(driver, [*text, *prompt_of(11, 25)], 30))
    asked = [*text, *prompt_of(12, 9)]
    decoder.steps.clear()
    assert read(ask(driver, asked, 30)) == (expected(asked, 30), "length", 110)
    assert len(decoder.steps[0][0].tokens) == 9
    # A conversation goes on where its answer ended.
    longer = [*asked, *expected(asked, 30), *prompt_of(13, 5)]
    assert read(ask(driver, longer, 5)) == (expected(longer, 5), "length", 148)


def test_one_who_leaves_makes_room_and_the_others_go_on(driver: Driver) -> None:
    leaving = ask(driver, prompt_of(7, 200), 300)
    leaving.outbox.get(timeout=10)
    leaving.cancelled = True
    for seed in range(6):
        prompt = prompt_of(seed, 350)
        assert read(ask(driver, prompt, 9))[0] == expected(prompt, 9)


def test_when_the_engine_fails_everybody_hears_of_it(driver: Driver, decoder: Remembering) -> None:
    first = ask(driver, prompt_of(8, 10), 400)
    first.outbox.get(timeout=10)
    decoder.fails = True
    with pytest.raises(WorkerDied):
        read(first)
    with pytest.raises(WorkerDied):
        read(ask(driver, prompt_of(9, 10)))
    with pytest.raises(queue.Empty):
        first.outbox.get(timeout=0.05)


@pytest.mark.parametrize("length", [33, 65, 66, 70, 96])
def test_nobody_writes_where_another_reads(decoder: Remembering, length: int) -> None:
    """Step by step: the first answer goes on while the second begins alike."""
    driver = Driver(decoder, decoder.blocks, WINDOW)  # type: ignore[arg-type]
    prompt = prompt_of(14, 100)
    first = ask(driver, prompt)
    driver._take()
    while first.outbox.empty():
        driver._step()
    second = ask(driver, prompt[:length], 10)
    driver._take()
    while second.outbox.empty():
        driver._step()
    news = second.outbox.get()
    assert isinstance(news, News)
    assert [chosen.id for chosen in news.chosen] == expected(prompt[:length], 1)
    assert news.cached_tokens >= BLOCK_TOKENS * ((length - 2) // BLOCK_TOKENS)


class Broken:
    """A constraint with a fault; its words are nobody else's."""

    ended = False

    def apply(self, scores: NDArray[np.float32]) -> None:
        raise ZeroDivisionError("a private word")

    def forced(self) -> list[int]:
        return []


def test_an_answer_that_cannot_go_on_ends_alone(driver: Driver) -> None:
    prompt = prompt_of(15, 40)
    other = ask(driver, prompt, 200)
    other.outbox.get(timeout=10)
    broken = Ask(prompt, GREEDY, 9, ends=frozenset(), constraint=Broken())  # type: ignore[arg-type]
    driver.add(broken)
    with pytest.raises(InternalError) as caught:
        read(broken)
    assert "private" not in caught.value.text
    assert read(other)[1] == "length"
    assert read(ask(driver, prompt, 30))[0] == expected(prompt, 30)


def test_one_that_cannot_begin_is_told_so_and_holds_nothing(
    driver: Driver, decoder: Remembering
) -> None:
    broken = Ask(prompt_of(16, 40), None, 9, ends=frozenset())  # type: ignore[arg-type]
    driver.add(broken)
    with pytest.raises(InternalError):
        read(broken)
    assert not decoder.blocks._users
    prompt = prompt_of(17, 40)
    assert read(ask(driver, prompt, 30))[0] == expected(prompt, 30)
