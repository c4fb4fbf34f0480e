"""Which format each tensor gets when a model is quantized: the rules of llama-quantize.

Only for the kinds that need no mix of K-formats, without an importance matrix. Written after
`llama_tensor_get_type` and `tensor_allows_quantization` of llama.cpp, and held to the program by a
test. In short: only matrices whose name ends in `weight`, no norms, no routers, no small special
ones; the output matrix, or the word embeddings where they are the output too, gets Q6_K (Q8_0 in a
Q8_0 model); what has rows of no whole number of blocks gets the next format that fits.
"""

from __future__ import annotations

from typing import NamedTuple

# `general.file_type` of the kinds that can be written here.
KINDS: dict[str, int] = {
    "F32": 0,
    "F16": 1,
    "Q4_0": 2,
    "Q4_1": 3,
    "Q8_0": 7,
    "Q5_0": 8,
    "Q5_1": 9,
    "Q6_K": 18,
    "BF16": 32,
}
_BLOCKS = {"Q4_0": 32, "Q4_1": 32, "Q5_0": 32, "Q5_1": 32, "Q8_0": 32, "Q6_K": 256}
# Of tensors that are left as they are, parts of the name.
_KEPT = (
    "_norm.weight ffn_gate_inp.weight ffn_gate_tid2eid.weight altup laurel per_layer_model_proj "
    "ssm_conv1d shortconv.conv.weight indexer.k_proj.weight indexer.q_proj.weight "
    "time_mix_first.weight time_mix_w0.weight time_mix_w1.weight time_mix_w2.weight "
    "time_mix_v0.weight time_mix_v1.weight time_mix_v2.weight time_mix_a0.weight "
    "time_mix_a1.weight time_mix_a2.weight time_mix_g1.weight time_mix_g2.weight "
    "time_mix_decay_w1.weight time_mix_decay_w2.weight time_mix_lerp_fused.weight "
    "attn_rel_b.weight .position_embd sam.pos_embd sam.neck. sam.net_ .rel_pos .patch_embd "
    ".patch_merger a.rvq.codebook mm.a.code_embd"
).split()
_KEPT_WHOLE = ("position_embd.weight", "token_types.weight")
_WORDS = ("token_embd.weight", "per_layer_token_embd.weight")
_VALUES = ("attn_qkv.weight", "attn_kv_b.weight", "attn_v.weight")
_KEYS = "attn_k.weight"
# Models of this many experts get more bits where these share much: it costs little.
_EXPERTS = 8


class Shape(NamedTuple):
    """What the rules look at of a model."""

    architecture: str
    experts: int
    has_output: bool


def allows_quantization(name: str, shape: tuple[int, ...]) -> bool:
    """`shape` as in the file, the length of a row first."""
    rank = max((at + 1 for at, length in enumerate(shape) if length > 1), default=1)
    return (
        rank > 1
        and name.endswith("weight")
        and name not in _KEPT_WHOLE
        and not any(part in name for part in _KEPT)
    )


def choose_format(name: str, shape: tuple[int, ...], present: str, kind: str, model: Shape) -> str:
    """The format of one tensor in a model of this `kind`; `present` is what it has now."""
    if not allows_quantization(name, shape):
        return present
    if kind not in _BLOCKS:
        return kind
    return _fitting(_wanted(name, shape[0], kind, model), shape[0])


def _wanted(name: str, row: int, kind: str, model: Shape) -> str:
    is_output = name == "output.weight" or (name in _WORDS and not model.has_output)
    if is_output:
        if model.architecture == "falcon" or row % _BLOCKS[kind]:
            return "Q8_0"
        return kind if kind == "Q8_0" else "Q6_K"
    if name in _WORDS:
        return kind
    shared = any(part in name for part in _VALUES) or _KEYS in name
    return "Q8_0" if shared and model.experts == _EXPERTS else kind


def _fitting(kind: str, row: int) -> str:
    if kind == "Q6_K" and row % _BLOCKS[kind]:
        kind = "Q8_0"
    return "F16" if row % _BLOCKS[kind] else kind
