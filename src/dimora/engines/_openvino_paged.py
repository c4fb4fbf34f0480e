"""A decoder on OpenVINO that reads tokens of several texts in one step, into a paged cache.

Processors with AMX multiply brain floats (16 bits, of which 8 are the exponent) several times as
fast as bytes, but only many rows of them at once. So there long pieces of prompts are read by a
network that computes with brain floats throughout, and what it found is put into the cache of the
one that writes. All scores come from the latter. Nothing here knows requests: see
`_openvino_driver` for what is read when, and `docs/decisions/0028` for why.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dimora.engines._openvino_network import BLOCK_TOKENS, Network, Row

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

# Fewer tokens are read as fast as bytes.
_LEAST_BRAIN_TOKENS = 32
# Of a prompt so many are left to the network that gives the scores: one alone would be read in
# another way than with others.
_TAIL_TOKENS = 2
# Kernels leave no rest in whole numbers of so many tokens. Half a tile more is read a sixth slower
# with bytes, and a third slower with brain floats.
_TILE_TOKENS = 64
_BRAIN_TILE_TOKENS = 128
# A rest of more than this takes as long as a whole tile.
_CHEAP_REST_TOKENS = 56
_FILLER_BLOCKS = -(-(_BRAIN_TILE_TOKENS - _CHEAP_REST_TOKENS) // BLOCK_TOKENS)


class PagedDecoder:
    """For one thread at a time. With `brain_blocks`, as many as the longest text needs, long rows
    are read with brain floats: `reads_apart` then, since they take a time of their own in a step.
    Prompts are best read in whole numbers of `tile_tokens`.

    Raises RuntimeError when OpenVINO cannot load the folder.
    """

    def __init__(
        self, folder: Path, blocks: int, properties: dict[str, Any], *, brain_blocks: int = 0
    ) -> None:
        self._reader: _Reader | None = None
        self.reads_apart = brain_blocks > 0
        self.tile_tokens = _BRAIN_TILE_TOKENS if brain_blocks else _TILE_TOKENS
        if not brain_blocks:
            self._network = Network(folder, blocks, properties)
            return
        with ThreadPoolExecutor(1) as beside:
            # Both compile for seconds, each on one core most of the time.
            brain = properties | {"INFERENCE_PRECISION_HINT": "bf16"}
            room = brain_blocks + _FILLER_BLOCKS
            reading = beside.submit(Network, folder, room, brain, scores=False)
            self._network = Network(folder, blocks, properties)
            self._reader = _Reader(reading.result(), self._network.caches)

    def step(self, rows: Sequence[Row]) -> NDArray[numpy.float32]:
        """Reads all tokens; scores of shape (rows that want them, vocabulary), until the next step.

        Raises RuntimeError, after which nothing is known of the cache.
        """
        import numpy as np

        if self._reader is None:
            return self._network.scores(rows)
        rest = self._reader.take(rows)
        if not rest:
            return np.empty((0, 0), np.float32)
        self._reader.forget(page for row in rest for page in row.new_pages)
        return self._network.scores(rest)

    def copy_block(self, source: int, target: int) -> None:
        """From now on the target holds what the source does."""
        for cache in self._network.caches:
            cache[target] = cache[source]
        if self._reader is not None:
            self._reader.forget([target])


class _Reader:
    """Reads long pieces of texts and puts their keys and values into `caches`. Its own cache has
    room for the longest text. The last it has read begins at its first block and stays there as
    long as it is the same in theirs, since a long text is read piece by piece."""

    def __init__(self, network: Network, caches: Sequence[NDArray[Any]]) -> None:
        self._network = network
        self._pairs = list(zip(network.caches, caches, strict=True))
        self._room = len(network.caches[0]) - _FILLER_BLOCKS
        self._pages: list[int] = []
        self._tokens = 0

    def take(self, rows: Sequence[Row]) -> list[Row]:
        """Reads what is for it to read; returns what is left of the rows."""
        pieces, rest = [], []
        for row in rows:
            count = len(row.tokens) - (_TAIL_TOKENS if row.wanted else 0)
            if count < _LEAST_BRAIN_TOKENS:
                rest.append(row)
                continue
            pieces.append(row._replace(tokens=row.tokens[:count], wanted=False))
            if count < len(row.tokens):
                rest.append(row._replace(tokens=row.tokens[count:], past=row.past + count))
        for some in self._batches(pieces):
            self._read(some)
        return rest

    def forget(self, pages: Iterable[int]) -> None:
        """Others have written to these blocks of the caches."""
        if not set(self._pages).isdisjoint(pages):
            self._pages, self._tokens = [], 0

    def _batches(self, pieces: Sequence[Row]) -> Iterator[list[Row]]:
        """As many at once as there is room for."""
        batch, room = list[Row](), self._room
        for piece in pieces:
            if batch and len(piece.pages) > room:
                yield batch
                batch, room = [], self._room
            batch.append(piece)
            room -= len(piece.pages)
        if batch:
            yield batch

    def _read(self, batch: Sequence[Row]) -> None:
        placed, start = [], 0
        # Who is read last may go on in the next step.
        for row in reversed(batch):
            self._place(row, start)
            blocks = range(start, start + len(row.pages))
            placed.append((row, row._replace(blocks=blocks)))
            start = blocks.stop
        self._network.read([here for _, here in placed] + self._filler(batch))
        for there, here in placed:
            self._hand_over(there, here)
        self._pages, self._tokens = list(batch[-1].pages), batch[-1].past + len(batch[-1].tokens)

    def _filler(self, batch: Sequence[Row]) -> list[Row]:
        """What makes a tile full, where that is faster."""
        rest = sum(len(row.tokens) for row in batch) % _BRAIN_TILE_TOKENS
        if rest <= _CHEAP_REST_TOKENS:
            return []
        blocks = range(self._room, self._room + _FILLER_BLOCKS)
        return [Row([0] * (_BRAIN_TILE_TOKENS - rest), 0, blocks, False)]

    def _place(self, row: Row, start: int) -> None:
        """Has what is before its tokens in our blocks from `start` on."""
        before = list(row.pages[: -(-row.past // BLOCK_TOKENS)])
        if start or row.past != self._tokens or before != self._pages:
            for ours, theirs in self._pairs:
                ours[start : start + len(before)] = to_brain(theirs[before])

    def _hand_over(self, there: Row, here: Row) -> None:
        within = there.past % BLOCK_TOKENS
        (first, *others), (our_first, *our_others) = there.new_pages, here.new_pages
        for ours, theirs in self._pairs:
            # What was there before may be finer than a brain float.
            theirs[first, :, within:] = to_halves(ours[our_first, :, within:])
            theirs[others] = to_halves(ours[our_others])


def to_halves(brain: NDArray[numpy.uint16]) -> NDArray[numpy.float16]:
    """Brain floats, given as their bits, as halves: the same numbers from 2**-14 to 65504, which is
    far more than keys and values span; larger ones are infinite, as they are where halves are
    computed."""
    import numpy as np

    with np.errstate(over="ignore"):
        return (brain.astype(np.uint32) << 16).view(np.float32).astype(np.float16)


def to_brain(halves: NDArray[numpy.float16]) -> NDArray[numpy.uint16]:
    """The bits of the nearest brain floats, of two as near the even one."""
    import numpy as np

    bits = halves.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
