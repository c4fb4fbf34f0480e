"""Blocks are found again by what was read before and in them, and by who read it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimora.engines._kv_blocks import Blocks, Held

SIZE = 4


def read(blocks: Blocks, tokens: list[int], scope: str = "") -> Held:
    held = blocks.begin(scope, tokens)
    blocks.extend(held, len(tokens))
    blocks.note(held, tokens, len(tokens))
    return held


def test_who_begins_alike_reads_only_what_is_new() -> None:
    blocks = Blocks(8, SIZE)
    first = read(blocks, list(range(10)))
    second = blocks.begin("", [*range(8), 90, 91])
    assert second.known == 8
    assert second.numbers == first.numbers[:2]


def test_the_last_token_is_always_left_to_read() -> None:
    blocks = Blocks(8, SIZE)
    read(blocks, list(range(8)))
    assert blocks.begin("", list(range(8))).known == 4
    assert blocks.begin("", list(range(9))).known == 8


def test_another_scope_knows_nothing_of_it() -> None:
    blocks = Blocks(8, SIZE)
    read(blocks, list(range(9)), scope="one")
    assert blocks.begin("another", list(range(9))).known == 0
    assert blocks.begin("", list(range(9))).known == 0
    assert blocks.begin("one", list(range(9))).known == 8


def test_the_same_tokens_after_others_are_not_the_same() -> None:
    blocks = Blocks(8, SIZE)
    read(blocks, [1, 1, 1, 1, 2, 2, 2, 2, 0])
    assert blocks.begin("", [3, 3, 3, 3, 2, 2, 2, 2, 0]).known == 0


def test_what_is_not_full_or_not_yet_read_is_not_known() -> None:
    blocks = Blocks(8, SIZE)
    tokens = list(range(12))
    held = blocks.begin("", tokens)
    blocks.extend(held, len(tokens))
    blocks.note(held, tokens, 7)
    assert blocks.begin("", tokens).known == 4


def test_released_blocks_are_known_until_they_are_needed_the_ends_go_first() -> None:
    blocks = Blocks(4, SIZE)
    blocks.release(read(blocks, list(range(13))))
    assert len(blocks.begin("", list(range(13))).numbers) == 3
    blocks = Blocks(4, SIZE)
    blocks.release(read(blocks, list(range(13))))
    other = blocks.begin("", list(range(100, 108)))
    blocks.extend(other, 8)
    assert blocks.begin("", list(range(13))).known == 8


def test_who_was_here_last_is_forgotten_last() -> None:
    blocks = Blocks(4, SIZE)
    blocks.release(read(blocks, [1] * 5))
    blocks.release(read(blocks, [2] * 5))
    blocks.release(read(blocks, [1] * 5))
    blocks.extend(blocks.begin("", [3] * 12), 12)
    assert blocks.begin("", [1] * 5).known == 4
    assert blocks.begin("", [2] * 5).known == 0


def test_blocks_in_use_are_never_given_away() -> None:
    blocks = Blocks(2, SIZE)
    read(blocks, list(range(8)))
    with pytest.raises(IndexError):
        blocks.extend(blocks.begin("", [9]), 1)


texts = st.lists(st.integers(0, 1), min_size=1, max_size=20)


@given(st.lists(st.tuples(texts, st.sampled_from(["", "x"]), st.booleans()), max_size=30))
def test_a_block_holds_what_its_users_think(steps: list[tuple[list[int], str, bool]]) -> None:
    blocks = Blocks(40, SIZE)
    memory: dict[int, tuple[str, list[int]]] = {}
    using: list[Held] = []
    for tokens, scope, stays in steps:
        held = blocks.begin(scope, tokens)
        for at, number in enumerate(held.numbers):
            assert memory[number] == (scope, tokens[: (at + 1) * SIZE])
        blocks.extend(held, len(tokens))
        for at in range(held.known // SIZE, len(held.numbers)):
            memory[held.numbers[at]] = (scope, tokens[: (at + 1) * SIZE])
        blocks.note(held, tokens, len(tokens))
        using.append(held)
        if not stays or len(using) > 6:
            blocks.release(using.pop(0))
