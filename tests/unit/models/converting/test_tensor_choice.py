"""The rules of llama-quantize, case by case; tests/machines compares whole files with it."""

from __future__ import annotations

import gguf
import numpy as np
import pytest

from dimora.models.converting.q6_k import pack_q6_k
from dimora.models.converting.tensor_choice import Shape, choose_format

PLAIN = Shape(architecture="llama", experts=0, has_output=True)
TIED = PLAIN._replace(has_output=False)


@pytest.mark.parametrize(
    ("name", "shape", "kind", "model", "chosen"),
    [
        ("blk.0.attn_q.weight", (256, 256), "Q4_0", PLAIN, "Q4_0"),
        ("blk.0.attn_norm.weight", (256,), "Q4_0", PLAIN, "F32"),
        ("blk.0.attn_q_norm.weight", (64, 8), "Q4_0", PLAIN, "F32"),
        ("blk.0.attn_q.bias", (256,), "F16", PLAIN, "F32"),
        ("blk.0.ffn_gate_inp.weight", (256, 8), "Q8_0", PLAIN, "F32"),
        ("position_embd.weight", (256, 512), "Q8_0", PLAIN, "F32"),
        ("blk.0.column.weight", (256, 1), "Q8_0", PLAIN, "F32"),
        ("output.weight", (256, 1000), "Q4_0", PLAIN, "Q6_K"),
        ("output.weight", (576, 1000), "Q4_0", PLAIN, "Q8_0"),
        ("output.weight", (256, 1000), "Q8_0", PLAIN, "Q8_0"),
        ("output.weight", (256, 1000), "BF16", PLAIN, "BF16"),
        ("output.weight", (256, 1000), "Q4_0", PLAIN._replace(architecture="falcon"), "Q8_0"),
        ("token_embd.weight", (256, 1000), "Q5_1", PLAIN, "Q5_1"),
        ("token_embd.weight", (256, 1000), "Q5_1", TIED, "Q6_K"),
        ("blk.0.attn_v.weight", (256, 256), "Q4_0", PLAIN._replace(experts=8), "Q8_0"),
        ("blk.0.attn_k.weight", (256, 256), "Q4_0", PLAIN._replace(experts=4), "Q4_0"),
        ("blk.0.ffn_up_exps.weight", (256, 512, 8), "Q4_1", PLAIN._replace(experts=8), "Q4_1"),
        ("blk.0.odd.weight", (100, 256), "Q4_0", PLAIN, "F16"),
        ("blk.0.odd.weight", (100, 256), "F32", PLAIN, "F32"),
    ],
)
def test_the_format_of_a_tensor(name, shape, kind, model, chosen):
    assert choose_format(name, shape, "F32", kind, model) == chosen


def test_packed_weights_come_back_nearly_as_they_were():
    values = np.random.default_rng(3).standard_normal((40, 512)).astype(np.float32)
    values[1] = 0
    values[2, :16] = 0
    values[3] *= 1e-3
    values[4] *= 1e4
    back = gguf.dequantize(pack_q6_k(values), gguf.GGMLQuantizationType.Q6_K)
    assert back.shape == values.shape
    assert (back[1] == 0).all()
    spread = np.abs(values).max(axis=1)
    # Six bits: a step is a 32nd of the largest weight of a group, and half of it is the error.
    error = np.abs(back - values).max(axis=1)
    assert (error <= spread / 32).all()


def test_rows_are_packed_alike_whatever_is_packed_with_them():
    values = np.random.default_rng(4).standard_normal((1500, 256)).astype(np.float32)
    whole = pack_q6_k(values)
    assert whole.shape == (1500, 210)
    assert np.array_equal(whole[700:701], pack_q6_k(values[700:701]))
