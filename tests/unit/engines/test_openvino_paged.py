"""What one network has read goes on in the cache of the other, with a network that adds up tokens
instead of computing keys and values: each depends on all before it, so that a block which is old or
of another text would show."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dimora.engines import _openvino_paged
from dimora.engines._openvino_network import BLOCK_TOKENS, Row
from dimora.engines._openvino_paged import PagedDecoder, to_brain, to_halves

# Whole numbers below this are brain floats.
MOST = 128
BLOCKS = 60
WINDOW_BLOCKS = 11


def keys_of(tokens: Sequence[int]) -> list[int]:
    keys: list[int] = []
    for token in tokens:
        keys.append((token + 3 * sum(keys)) % MOST)
    return keys


class Adding:
    """Stands for a network; `made` are all that were."""

    made: list[Adding]

    def __init__(
        self, folder: Path, blocks: int, properties: dict[str, Any], *, scores: bool = True
    ) -> None:
        self.has_scores = scores
        self.is_brain = properties["INFERENCE_PRECISION_HINT"] == "bf16"
        kind = np.uint16 if self.is_brain else np.float16
        # Not zero: nothing may count on what is in memory that nobody has written to.
        self.caches: list[NDArray[Any]] = [np.full((blocks, 1, BLOCK_TOKENS, 1), 77, kind)]
        self.rows: list[Row] = []
        self.made.append(self)

    def read(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.rows.append(row)
            keys = [int(key) for key in self.keys(row.blocks, row.past)]
            for at, token in enumerate(row.tokens, row.past):
                keys.append((token + 3 * sum(keys)) % MOST)
                cell = np.array([keys[-1]], np.float16)
                number = row.blocks[at // BLOCK_TOKENS]
                value = to_brain(cell) if self.is_brain else cell
                self.caches[0][number, 0, at % BLOCK_TOKENS] = value

    def keys(self, blocks: Sequence[int], count: int) -> NDArray[np.float16]:
        flat = self.caches[0][list(blocks)].reshape(-1)[:count]
        return to_halves(flat) if self.is_brain else flat

    def scores(self, rows: Sequence[Row]) -> NDArray[np.float32]:
        assert self.has_scores
        self.read(rows)
        ends = [self.keys(r.blocks, r.past + len(r.tokens))[-1] for r in rows if r.wanted]
        return np.array(ends, np.float32).reshape(-1, 1)


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch) -> PagedDecoder:
    Adding.made = []
    monkeypatch.setattr(_openvino_paged, "Network", Adding)
    properties = {"INFERENCE_PRECISION_HINT": "f32"}
    return PagedDecoder(Path(), BLOCKS, properties, brain_blocks=WINDOW_BLOCKS)


def networks() -> tuple[Adding, Adding]:
    """The one that gives scores, and the one that reads."""
    first, second = sorted(Adding.made, key=lambda one: one.is_brain)
    return first, second


def text(seed: int, count: int) -> list[int]:
    return random.Random(seed).choices(range(MOST), k=count)


def test_long_pieces_are_read_by_one_network_and_the_scores_are_of_the_other(
    decoder: PagedDecoder,
) -> None:
    tokens, blocks = text(1, 200), list(range(20, 30))
    assert len(decoder.step([Row(tokens[:128], 0, blocks, False)])) == 0
    scores = decoder.step([Row(tokens[128:], 128, blocks, True)])
    assert scores[0] == keys_of(tokens)[-1]
    writing, reading = networks()
    assert [len(row.tokens) for row in writing.rows] == [2]
    # The last are no one's, and make 128 of them.
    assert [len(row.tokens) for row in reading.rows] == [128, 70, 58]


def test_short_pieces_and_single_tokens_never_meet_brain_floats(decoder: PagedDecoder) -> None:
    blocks = [5, 6, 7]
    decoder.step([Row(text(2, 31), 0, blocks, False), Row([1], 0, [9], True)])
    decoder.step([Row(text(3, 33), 31, blocks, True)])
    assert not networks()[1].rows


def test_rows_of_a_step_keep_their_order(decoder: PagedDecoder) -> None:
    texts = [text(seed, count) for seed, count in ((4, 1), (5, 90), (6, 40), (7, 1))]
    rows = [Row(tokens, 0, range(8 * at, 8 * at + 8), at != 2) for at, tokens in enumerate(texts)]
    wanted = [keys_of(tokens)[-1] for at, tokens in enumerate(texts) if at != 2]
    assert decoder.step(rows)[:, 0].tolist() == wanted


def test_a_text_that_goes_on_is_not_carried_over_again(
    decoder: PagedDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried: list[int] = []

    def noted(halves: NDArray[np.float16]) -> NDArray[np.uint16]:
        carried.append(len(halves))
        return to_brain(halves)

    monkeypatch.setattr(_openvino_paged, "to_brain", noted)
    tokens, blocks = text(8, 300), list(range(10))
    for past in (0, 64, 128, 192):
        decoder.step([Row(tokens[past : past + 64], past, blocks, False)])
    assert sum(carried) == 0
    # Somebody else writes to one of its blocks, and back.
    decoder.copy_block(3, 50)
    decoder.copy_block(50, 3)
    decoder.step([Row(tokens[256:], 256, blocks, False)])
    assert sum(carried) == 8


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_read_when_every_text_is_as_if_alone(decoder: PagedDecoder, seed: int) -> None:
    chance = random.Random(seed)
    texts = [text(100 * seed + n, 340) for n in range(4)]
    places = list(range(BLOCKS))
    chance.shuffle(places)
    blocks = [places[n * WINDOW_BLOCKS : (n + 1) * WINDOW_BLOCKS] for n in range(4)]
    read = [0, 0, 0, 0]
    for _ in range(40):
        rows, wanted = [], []
        for n in chance.sample(range(4), chance.randint(1, 3)):
            count = min(chance.choice([1, 1, 5, 33, 60, 130]), 340 - read[n])
            if chance.random() < 0.1:
                # It is left, and another begins where it was.
                texts[n], read[n], count = text(chance.randrange(10**6), 340), 0, 50
            if count:
                scored = chance.random() < 0.4
                rows.append(Row(texts[n][read[n] : read[n] + count], read[n], blocks[n], scored))
                read[n] += count
                wanted += keys_of(texts[n][: read[n]])[-1:] if scored else []
        if rows:
            assert decoder.step(rows).reshape(-1).tolist() == wanted
        if chance.random() < 0.3:
            # A text goes on from a copy of its last block.
            n = chance.randrange(4)
            last, spare = read[n] // BLOCK_TOKENS, places[4 * WINDOW_BLOCKS + n]
            if last < WINDOW_BLOCKS:
                decoder.copy_block(blocks[n][last], spare)
                places[4 * WINDOW_BLOCKS + n], blocks[n][last] = blocks[n][last], spare
    for n in range(4):
        assert networks()[0].keys(blocks[n], read[n]).tolist() == keys_of(texts[n][: read[n]])


def test_as_many_texts_as_there_is_room_for_are_read_at_once(decoder: PagedDecoder) -> None:
    texts = [text(seed, 128) for seed in range(20, 24)]
    rows = [Row(tokens, 0, range(4 * at, 4 * at + 4), True) for at, tokens in enumerate(texts)]
    together: list[int] = []
    read = networks()[1].read
    networks()[1].read = lambda some: (together.append(len(some)), read(some))  # type: ignore[method-assign]
    assert decoder.step(rows)[:, 0].tolist() == [keys_of(tokens)[-1] for tokens in texts]
    # Each with a few tokens that are no one's.
    assert together == [3, 3]


@pytest.mark.parametrize(("count", "filler"), [(40, 0), (56, 0), (57, 71), (128, 0), (150, 0)])
def test_a_tile_is_made_full_where_that_is_faster(
    decoder: PagedDecoder, count: int, filler: int
) -> None:
    decoder.step([Row(text(30, count), 0, range(8), False)])
    assert sum(len(row.tokens) for row in networks()[1].rows) == count + filler


def test_two_texts_in_turns(decoder: PagedDecoder) -> None:
    texts = [(text(10, 256), range(8)), (text(11, 256), range(8, 16))]
    for past in range(0, 256, 64):
        for tokens, blocks in texts:
            decoder.step([Row(tokens[past : past + 64], past, blocks, False)])
            found = networks()[0].keys(blocks, past + 64)
            assert found.tolist() == keys_of(tokens[: past + 64])


def test_what_was_there_keeps_its_last_digits(decoder: PagedDecoder) -> None:
    """It may be finer than a brain float."""
    cache = networks()[0].caches[0]
    cache[4, 0, :10] = 1 + 2**-10
    decoder.step([Row(text(9, 90), 10, [4, 5, 6, 7], False)])
    assert (cache[4, 0, :10] == 1 + 2**-10).all()


def test_brain_floats_are_halves_and_back() -> None:
    bits = np.arange(0x10000, dtype=np.uint16)
    values = (bits.astype(np.uint32) << 16).view(np.float32)
    usual = (np.abs(values) >= 2.0**-14) & (np.abs(values) <= 65000)
    assert usual.sum() > 7000
    halves = to_halves(bits)
    assert (halves[usual] == values[usual]).all()
    assert (to_brain(halves[usual]) == bits[usual]).all()
    assert np.isinf(halves[np.abs(values) > 70000][:10]).all()


def test_halves_become_the_nearest_brain_float() -> None:
    # Next to 1 are 1 + 2**-7 and 1 - 2**-8.
    halves = np.array([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-10, -(1 + 2**-9)], np.float16)
    found = (to_brain(halves).astype(np.uint32) << 16).view(np.float32)
    assert found.tolist() == [1, 1 + 2**-6, 1 + 2**-7, -1]
