"""Models of random weights are read like real ones."""

from __future__ import annotations

from pathlib import Path

import gguf
import msgspec
import numpy as np
import pytest

from bench.make_model import THREE_BILLION, Shape, make_model
from dimora.engines import _openvino_graph
from dimora.models.store import ModelStore
from tests.unit.models.making import tiny_gguf


@pytest.mark.parametrize("weights", ["Q4_0", "Q4_1", "Q8_0", "F16"])
def test_a_model_is_whole_and_its_weights_are_small_numbers(tmp_path: Path, weights: str) -> None:
    shape = Shape(
        name="tiny",
        blocks=2,
        width=128,
        heads=2,
        kv_heads=1,
        feed_forward=256,
        vocabulary=300,
        weights=weights,
    )
    path = make_model(shape, tiny_gguf(tmp_path / "tokenizer.gguf"), tmp_path / "model.gguf")
    model = ModelStore(tmp_path / "models", cache_path=tmp_path).find_file(path)
    assert _openvino_graph.refuses(model) == ""
    tensors = {t.name: t for t in gguf.GGUFReader(path).tensors}
    assert len(tensors) == 2 + 9 * 2
    numbers = gguf.quants.dequantize(
        tensors["blk.1.ffn_up.weight"].data, tensors["blk.1.ffn_up.weight"].tensor_type
    )
    assert numbers.shape == (256, 128)
    assert 0 < np.abs(numbers).max() < 1


def test_the_large_one_has_three_billion_weights() -> None:
    shape = THREE_BILLION
    attention = 2 * shape.width * shape.head_width * (shape.heads + shape.kv_heads)
    block = attention + 3 * shape.width * shape.feed_forward
    assert 2.8e9 < shape.blocks * block + shape.vocabulary * shape.width < 3.4e9


def test_a_tokenizer_with_more_words_than_the_model_has_rows_is_refused(tmp_path: Path) -> None:
    shape = msgspec.structs.replace(THREE_BILLION, vocabulary=2)
    with pytest.raises(ValueError, match="--vocabulary is too small"):
        make_model(shape, tiny_gguf(tmp_path / "tokenizer.gguf"), tmp_path / "model.gguf")
