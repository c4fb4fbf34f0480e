"""Which texts of which requests are computed together."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from dimora.core.errors import InternalError
from dimora.engines._openvino_embedding import _Asked, _Desk


class Encoder:
    """Stands for a compiled model: a vector of a text is its count and the sum of its tokens."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, int]] = []
        self.fails = False
        self.slow = threading.Event()
        self.slow.set()

    def create_infer_request(self) -> Encoder:
        return self

    def infer(self, inputs: dict[str, np.ndarray], share_inputs: bool) -> None:
        words, counts = inputs["words"], inputs["counts"]
        self.slow.wait(10)
        if self.fails:
            raise RuntimeError
        self.shapes.append(words.shape)
        rows = [(count, words[row, :count].sum()) for row, count in enumerate(counts)]
        self._vectors = np.array(rows, np.float32)

    def get_tensor(self, _name: str) -> Encoder:
        self.data = self._vectors
        return self


@pytest.fixture
def encoder() -> Encoder:
    return Encoder()


@pytest.fixture
def desk(encoder: Encoder):
    desk = _Desk(encoder, streams=1)
    encoder.shapes.clear()
    yield desk
    desk.close()


def ask(desk: _Desk, counts: list[int]) -> _Asked:
    asked = _Asked([[at + 1] * count for at, count in enumerate(counts)])
    desk.add(asked)
    return asked


@pytest.mark.parametrize(
    "counts", [[1], [2, 2], [3], [512, 1, 17, 16, 15, 200, 200, 199], list(range(1, 60))]
)
def test_vectors_come_in_the_order_of_the_texts_whatever_their_lengths(desk, counts) -> None:
    asked = ask(desk, counts)
    asked.wait()
    assert asked.vectors == [(count, (at + 1) * count) for at, count in enumerate(counts)]


def test_texts_of_about_one_length_share_a_batch(desk, encoder) -> None:
    ask(desk, [200, 10, 201, 11, 205, 12, 199]).wait()
    assert sorted(encoder.shapes) == [(3, 16), (4, 208)]


def test_requests_share_batches_and_take_turns(desk, encoder) -> None:
    encoder.slow.clear()
    ask(desk, [30])
    time.sleep(0.05)
    long, short = ask(desk, [500] * 6), ask(desk, [100] * 2)
    same = ask(desk, [490])
    encoder.slow.set()
    for asked in (long, short, same):
        asked.wait()
    # The one of 490 fills up a batch of those of 500, and those of 100 come before their end.
    order = [width for _, width in encoder.shapes[1:]]
    assert order.index(112) < len(order) - 1
    assert sum(rows for rows, width in encoder.shapes if width > 400) == 7
    assert max(rows * width for rows, width in encoder.shapes) <= 1024


def test_a_failure_is_told_to_who_waits_and_to_nobody_after(desk, encoder) -> None:
    encoder.fails = True
    with pytest.raises(InternalError):
        ask(desk, [5, 6]).wait()
    encoder.fails = False
    asked = ask(desk, [5])
    asked.wait()
    assert asked.vectors == [(5, 5)]


def test_who_left_is_not_waited_for_and_computes_no_more(desk, encoder) -> None:
    encoder.slow.clear()
    asked = ask(desk, [500] * 20)
    time.sleep(0.05)
    desk.drop(asked)
    asked.wait()
    encoder.slow.set()
    ask(desk, [3]).wait()
    assert sum(rows for rows, width in encoder.shapes if width > 400) <= 2
