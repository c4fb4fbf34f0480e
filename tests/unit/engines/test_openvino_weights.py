"""Matrices of every format come out as the file says, and compute so in a graph."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from dimora.core.errors import InvalidModel
from dimora.engines import _openvino_weights
from dimora.engines._openvino_silence import silence
from dimora.engines._openvino_weights import (
    BLOCK,
    TYPES,
    Matrix,
    look_up,
    read_matrix,
    stack,
    to_graph,
)

ROWS, COLUMNS = 24, 512
EXACT = ("F32", "F16", "BF16", "Q4_0", "Q5_0", "Q8_0")
# Of the spread of the weights; a step of 4 bits is a quarter of it and more.
NEARLY = 0.01


@pytest.fixture
def openvino():
    pytest.importorskip("openvino_genai")
    silence()
    import openvino

    return openvino


def tensor_of(kind: str, folder: Path) -> gguf.ReaderTensor:
    """A tensor as a file has it: noise in this format, or random blocks where nobody can make it
    of noise, with scales that are numbers."""
    random = np.random.default_rng(3)
    type_ = gguf.GGMLQuantizationType[kind]
    try:
        noise = random.standard_normal((ROWS, COLUMNS), np.float32)
        data = gguf.quants.quantize(noise, type_)
    except NotImplementedError:
        block, size = gguf.GGML_QUANT_SIZES[type_]
        data = random.integers(0, 256, (ROWS, COLUMNS // block, size), np.uint8)
        halfs = {"Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}[kind]
        for at in halfs:
            scales = random.uniform(0.001, 0.01, (ROWS, COLUMNS // block)).astype(np.float16)
            data[..., at : at + 2] = scales[..., None].view(np.uint8)
        data = data.reshape(ROWS, -1)
    writer = gguf.GGUFWriter(folder / "one.gguf", "llama")
    writer.add_tensor("one.weight", data, raw_dtype=type_)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return gguf.GGUFReader(folder / "one.gguf").tensors[0]


@pytest.fixture(params=[True, False], ids=["bytes", "floats"])
def multiplies_bytes(request, monkeypatch) -> bool:
    monkeypatch.setattr(_openvino_weights, "multiplies_bytes", lambda: request.param)
    return request.param


def as_floats(openvino, matrix: Matrix) -> np.ndarray:
    """What a graph makes of it."""
    from openvino import opset13 as ops

    weights = to_graph(matrix)
    results = [ops.result(node) for node in weights if node is not None]
    model = openvino.Model(results, [], "matrix")
    exactly = {"INFERENCE_PRECISION_HINT": "f32"}
    numbers, *rests = openvino.Core().compile_model(model, "CPU", exactly)([]).values()
    return numbers + np.repeat(rests[0], BLOCK, axis=1) if rests else numbers


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_a_matrix_has_the_weights_of_its_file(
    openvino, multiplies_bytes: bool, kind: str, tmp_path: Path
) -> None:
    tensor = tensor_of(kind, tmp_path)
    wanted = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    got = as_floats(openvino, read_matrix(tensor))
    tolerance = 0 if kind in EXACT else NEARLY * wanted.std()
    assert np.sqrt(np.mean((got - wanted) ** 2)) <= tolerance


@pytest.mark.parametrize("kind", ["Q4_1", "Q5_1"])
def test_blocks_with_a_minimum_are_nearer_than_whole_zero_points_would_be(
    openvino, multiplies_bytes: bool, kind: str, tmp_path: Path
) -> None:
    tensor = tensor_of(kind, tmp_path)
    wanted = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    matrix = read_matrix(tensor)
    # A zero point is a whole number of steps.
    steps = matrix.scales
    rounded = matrix._replace(rests=np.round(matrix.rests / steps) * steps)
    far = np.abs(as_floats(openvino, rounded) - wanted).mean()
    near = np.abs(as_floats(openvino, matrix) - wanted).mean()
    assert near < far / 5


@pytest.mark.parametrize("scale", [0.0, 1e-7, 6e-5])
def test_a_block_of_the_same_weights_keeps_them(
    openvino, multiplies_bytes: bool, scale: float, tmp_path: Path
) -> None:
    matrix = read_matrix(tensor_of("Q4_1", tmp_path))
    scales, rests = matrix.scales.copy(), matrix.rests.copy()
    scales[3, 5], rests[3, 5] = scale, 0.75
    rests[4, 6] = scales[4, 6] = 0
    wanted = as_floats(openvino, matrix)
    wanted[3, 5 * BLOCK : 6 * BLOCK] = 0.75
    wanted[4, 6 * BLOCK : 7 * BLOCK] = 0
    got = as_floats(openvino, matrix._replace(scales=scales, rests=rests))
    np.testing.assert_allclose(got, wanted, atol=0.02)
    assert np.ptp(got[3, 5 * BLOCK : 6 * BLOCK]) < 0.001


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_words_are_looked_up_as_their_rows(openvino, kind: str, tmp_path: Path) -> None:
    from openvino import opset13 as ops

    tensor = tensor_of(kind, tmp_path)
    matrix = read_matrix(tensor)
    words = ops.parameter([-1, -1], openvino.Type.i64)
    model = openvino.Model([ops.result(look_up(matrix, words))], [words], "words")
    exactly = {"INFERENCE_PRECISION_HINT": "f32"}
    asked = np.array([[5, 0, 23], [7, 7, 1]], np.int64)
    (got,) = openvino.Core().compile_model(model, "CPU", exactly)([asked]).values()
    wanted = gguf.quants.dequantize(tensor.data, tensor.tensor_type)[asked]
    tolerance = NEARLY * wanted.std()
    assert got.shape == wanted.shape
    assert np.sqrt(np.mean((got - wanted) ** 2)) <= tolerance


def test_matrices_of_one_form_stand_one_below_the_other(openvino, tmp_path: Path) -> None:
    matrix = read_matrix(tensor_of("Q4_1", tmp_path))
    order = np.arange(ROWS)[::-1]
    both = stack([matrix, matrix.in_order(order)])
    assert both.rows == 2 * ROWS
    got = as_floats(openvino, both)
    np.testing.assert_array_equal(got[:ROWS], got[ROWS:][order])


def test_matrices_of_two_forms_do_not_fit(tmp_path: Path) -> None:
    four, with_rests, eight = (
        read_matrix(tensor_of(kind, tmp_path)) for kind in ("Q4_0", "Q4_1", "Q8_0")
    )
    assert four.fits(four)
    assert not four.fits(with_rests)
    assert not four.fits(eight)


def test_other_formats_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match="TQ1_0"):
        read_matrix(tensor_of("TQ1_0", tmp_path))
