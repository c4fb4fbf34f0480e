"""Blocks are found again by what was read before and in them, and by who read it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimora.engines._kv_blocks import Blocks, Held

SIZE = 4


class Memory:
    """What stands at each place of each block: its scope, and all tokens of a text up to there."""

    def __init__(self) -> None:
        self.blocks: dict[int, dict[int, tuple[str, list[int]]]] = {}
        self.copies = 0

    def copy(self, source: int, target: int) -> None:
        self.blocks[target] = dict(self.blocks.get(source, {}))
        self.copies += 1

    def write(self, held: Held, scope: str, tokens: list[int], start: int, end: int) -> None:
        for at in range(start, end):
            block = self.blocks.setdefault(held.numbers[at // SIZE], {})
            block[at % SIZE] = scope, tokens[: at + 1]

    def holds(self, held: Held, scope: str, tokens: list[int]) -> bool:
        return all(
            self.blocks[held.numbers[at // SIZE]][at % SIZE] == (scope, tokens[: at + 1])
            for at in range(held.known)
        )


def blocks_of(count: int) -> Blocks:
    return Blocks(count, SIZE, Memory().copy)


def read(blocks: Blocks, tokens: list[int], scope: str = "") -> Held:
    held = blocks.begin(scope, tokens)
    blocks.extend(held, len(tokens))
    blocks.note(held, tokens, len(tokens))
    return held


def give_back(blocks: Blocks, tokens: list[int]) -> None:
    blocks.release(read(blocks, tokens), tokens, len(tokens))


def test_who_begins_alike_reads_only_what_is_new() -> None:
    blocks = blocks_of(8)
    first = read(blocks, list(range(10)))
    second = blocks.begin("", [*range(8), 90, 91])
    assert second.known == 8
    assert second.numbers == first.numbers[:2]


def test_the_last_token_is_always_left_to_read() -> None:
    blocks = blocks_of(8)
    read(blocks, list(range(8)))
    assert blocks.begin("", list(range(8))).known == 7
    assert blocks.begin("", list(range(9))).known == 8


def test_another_scope_knows_nothing_of_it() -> None:
    blocks = blocks_of(8)
    read(blocks, list(range(9)), scope="one")
    assert blocks.begin("another", list(range(9))).known == 0
    assert blocks.begin("", list(range(9))).known == 0
    assert blocks.begin("one", list(range(9))).known == 8


def test_the_same_tokens_after_others_are_not_the_same() -> None:
    blocks = blocks_of(8)
    read(blocks, [1, 1, 1, 1, 2, 2, 2, 2, 0])
    assert blocks.begin("", [3, 3, 3, 3, 2, 2, 2, 2, 0]).known == 0


def test_what_is_not_full_or_not_yet_read_is_not_known() -> None:
    blocks = blocks_of(8)
    tokens = list(range(12))
    held = blocks.begin("", tokens)
    blocks.extend(held, len(tokens))
    blocks.note(held, tokens, 7)
    assert blocks.begin("", tokens).known == 4


def test_released_blocks_are_known_until_they_are_needed_the_ends_go_first() -> None:
    blocks = blocks_of(4)
    give_back(blocks, list(range(13)))
    assert len(blocks.begin("", list(range(13))).numbers) == 3
    blocks = blocks_of(4)
    give_back(blocks, list(range(13)))
    other = blocks.begin("", list(range(100, 108)))
    blocks.extend(other, 8)
    assert blocks.begin("", list(range(13))).known == 8


def test_who_was_here_last_is_forgotten_last() -> None:
    blocks = blocks_of(4)
    give_back(blocks, [1] * 5)
    give_back(blocks, [2] * 5)
    give_back(blocks, [1] * 5)
    blocks.extend(blocks.begin("", [3] * 12), 12)
    assert blocks.begin("", [1] * 5).known == 4
    assert blocks.begin("", [2] * 5).known == 0


def test_blocks_in_use_are_never_given_away() -> None:
    blocks = blocks_of(2)
    read(blocks, list(range(8)))
    with pytest.raises(IndexError):
        blocks.extend(blocks.begin("", [9]), 1)


def test_a_block_that_begins_alike_is_copied_and_goes_on_otherwise() -> None:
    memory = Memory()
    blocks = Blocks(8, SIZE, memory.copy)
    first = read(blocks, list(range(8)))
    second = blocks.begin("", [0, 1, 2, 3, 4, 5, 90, 91])
    assert (second.known, memory.copies) == (6, 1)
    assert second.numbers[0] == first.numbers[0]
    assert second.numbers[1] != first.numbers[1]
    assert blocks.begin("another", [0, 1, 2, 3, 4, 5, 90, 91]).known == 0
    assert memory.copies == 1


def test_the_end_of_a_text_is_known_once_it_is_given_back() -> None:
    blocks = blocks_of(8)
    give_back(blocks, list(range(7)))
    assert blocks.begin("", [0, 1, 2, 3, 4, 5, 6, 7]).known == 7
    assert blocks.begin("", [0, 1, 2, 3, 4, 9, 9, 9]).known == 5


def test_only_what_was_read_of_an_end_is_known() -> None:
    blocks = blocks_of(8)
    tokens = list(range(8))
    held = blocks.begin("", tokens)
    blocks.extend(held, len(tokens))
    blocks.release(held, tokens, 6)
    assert blocks.begin("", tokens).known == 6


def test_where_no_block_is_left_nothing_is_copied() -> None:
    memory = Memory()
    blocks = Blocks(2, SIZE, memory.copy)
    read(blocks, list(range(8)))
    assert blocks.begin("", [0, 1, 2, 3, 4, 5, 9]).known == 4
    assert memory.copies == 0


texts = st.lists(st.integers(0, 1), min_size=1, max_size=20)
steps_of_users = st.tuples(texts, st.sampled_from(["", "x"]), st.booleans(), st.integers(0, 20))


@given(st.lists(steps_of_users, max_size=30))
def test_a_block_holds_what_its_users_think(
    steps: list[tuple[list[int], str, bool, int]],
) -> None:
    memory = Memory()
    # Seven users of five blocks each: what is unused is soon forgotten.
    blocks = Blocks(36, SIZE, memory.copy)
    using: list[tuple[Held, str, list[int], int]] = []
    for tokens, scope, stays, part in steps:
        held = blocks.begin(scope, tokens)
        assert held.known < len(tokens)
        assert memory.holds(held, scope, tokens)
        blocks.extend(held, len(tokens))
        read_now = min(len(tokens), held.known + part)
        memory.write(held, scope, tokens, held.known, read_now)
        blocks.note(held, tokens, read_now)
        using.append((held, scope, tokens, read_now))
        for other, its_scope, its_tokens, its_read in using:
            other.known = its_read
            assert memory.holds(other, its_scope, its_tokens)
        if not stays or len(using) > 6:
            one, _, its_tokens, its_read = using.pop(0)
            blocks.release(one, its_tokens, its_read)
