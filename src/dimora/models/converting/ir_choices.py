"""Which GGUF models can become OpenVINO IR exactly, and in how few bits.

Told by a file's header alone, so that what cannot be done is refused before minutes of work. What
the exporter would do nearly right, or would leave out without a word, is refused as well.
"""

from __future__ import annotations

import re

import msgspec

from dimora.core.errors import BadRequest, UnsupportedFeature
from dimora.models.converting.base_configs import base_config
from dimora.models.formats.gguf import Header

BITS = (4, 8)
GROUPS = (128, 64, 32)
# How the tokenizers of these files split words is known exactly; of others it is not in the file.
TOKENIZERS = ("llama-bpe", "qwen2", "smollm")
# Names of tensors as GGUF has them and, behind it, as transformers has them; `{}` is the block.
WHOLE_TENSORS = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
ROPE_FACTORS = "rope_freqs.weight"
_BLOCK_TENSORS = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
}
_ADDED_TENSORS = {
    "llama": {},
    "qwen2": {f"attn_{part}.bias": f"self_attn.{part}_proj.bias" for part in "qkv"},
    "qwen3": {f"attn_{part}_norm.weight": f"self_attn.{part}_norm.weight" for part in "qk"},
}
_BLOCK = re.compile(r"blk\.(\d+)\.(.+)")


class Compression(msgspec.Struct, frozen=True, kw_only=True):
    """`bits` of a weight; `group` weights of a row share a scale, 0 is all of it."""

    bits: int
    group: int = 0


def require_exportable(header: Header) -> None:
    """Raises UnsupportedFeature, saying what it is that cannot be carried over."""
    architecture = header.architecture
    if architecture not in _ADDED_TENSORS:
        raise UnsupportedFeature(
            f"models of the architecture {architecture[:80]!r} cannot be exported to OpenVINO here",
            hint=f"known are {', '.join(_ADDED_TENSORS)}; `dimora quantize` makes others smaller",
            code="unsupported_architecture",
        )
    metadata = header.metadata
    splits_words_like = metadata.get("tokenizer.ggml.pre", "")
    if metadata.get("tokenizer.ggml.model") != "gpt2" or splits_words_like not in TOKENIZERS:
        raise UnsupportedFeature(
            "the tokenizer of this model cannot be carried over to OpenVINO",
            hint=f"known are {', '.join(TOKENIZERS)}; `dimora quantize` needs no tokenizer",
        )
    scaling = str(metadata.get(f"{architecture}.rope.scaling.type") or "none")
    if scaling != "none":
        raise UnsupportedFeature(
            f"this model stretches its context ({scaling[:20]!r}), which the export would lose"
        )
    for tensor in header.tensors:
        if tensor.name != ROPE_FACTORS and transformers_name(architecture, tensor.name) is None:
            raise UnsupportedFeature(
                f"the model has a part that the export does not know: {tensor.name[:80]!r}"
            )


def transformers_name(architecture: str, name: str) -> str | None:
    """What transformers calls a tensor, None for one that is not known."""
    if name in WHOLE_TENSORS:
        return WHOLE_TENSORS[name]
    found = _BLOCK.fullmatch(name)
    parts = _BLOCK_TENSORS | _ADDED_TENSORS[architecture]
    if found is None or found[2] not in parts:
        return None
    return f"model.layers.{found[1]}.{parts[found[2]]}"


def choose_compression(header: Header, bits: int, group: int) -> Compression:
    """A group of 0 is the largest that fits. Raises BadRequest for what there is not."""
    if bits not in BITS:
        raise BadRequest(
            f"weights get 4 or 8 bits, not {bits}", hint="--bits 8 or --bits 4", param="bits"
        )
    if bits == 8:
        if group:
            raise BadRequest(
                "with 8 bits all weights of a row share a scale, without groups",
                hint="leave --group out, or take --bits 4",
                param="group",
            )
        return Compression(bits=8)
    rows = {t.shape[0] for t in header.tensors if len(t.shape) > 1 and _BLOCK.fullmatch(t.name)}
    fitting = [size for size in GROUPS if all(row % size == 0 for row in rows)]
    if group and group not in GROUPS:
        raise BadRequest(
            f"groups have {_listed(GROUPS)} weights, not {group}", hint="--group 64", param="group"
        )
    if (group and group not in fitting) or not fitting:
        raise BadRequest(
            f"the rows of this model cannot be cut into groups of {group or min(GROUPS)} weights",
            hint=f"{_listed(fitting)} would fit" if fitting else "--bits 8 needs no groups",
            param="group",
        )
    return Compression(bits=4, group=group or fitting[0])


def _listed(numbers: tuple[int, ...] | list[int]) -> str:
    *most, last = map(str, sorted(numbers))
    return f"{', '.join(most)} or {last}" if most else last


def export_config(header: Header) -> dict[str, object]:
    """The config.json of the model, as transformers reads it."""
    metadata = header.metadata
    config = base_config(header)
    config.setdefault("rope_theta", 10000.0)
    config.setdefault("num_key_value_heads", config.get("num_attention_heads"))
    for word in ("bos", "eos"):
        config[f"{word}_token_id"] = metadata.get(f"tokenizer.ggml.{word}_token_id")
    return config
