"""What a model is made of, as far as memory and reading it go: from its tensors and metadata."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import msgspec

from dimora.tasks.base import Model

# Families in which only every n-th layer looks back to the beginning, for files that name their
# window and not the pattern.
_PATTERNS = {"gemma2": 2, "gemma3": 6, "gemma3n": 5, "gpt-oss": 2, "cohere2": 4, "olmo2": 4}
# The tensors of a block that tell how it remembers.
_TELLING = (
    "attn_qkv.weight",
    "attn_q.weight",
    "attn_k.weight",
    "attn_v.weight",
    "attn_kv_a_mqa.weight",
    "ffn_up.weight",
    "ssm_in.weight",
)


class Part(NamedTuple):
    """Some weights of one format."""

    type: str
    parameters: int
    size_bytes: int


class Anatomy(msgspec.Struct, frozen=True, kw_only=True):
    """Weights and widths of a model.

    `matrices` are all weights but the two that know the words: `reading` has a row for each word
    that is read, `writing` for each that is written, None where that is the same one.
    `kv_values` counts the numbers one token leaves behind in each block, `windowed` says of
    which blocks only the last `window` tokens are kept.
    """

    matrices: tuple[Part, ...]
    reading: Part | None
    writing: Part | None
    read_bytes_per_token: int
    blocks: int
    width: int
    feed_forward: int
    vocabulary: int
    kv_values: tuple[int, ...]
    windowed: tuple[bool, ...]
    window: int

    def cached_tokens(self, block: int, tokens: int, spare: int) -> int:
        """How many of `tokens` a block keeps; `spare` are read before old ones are forgotten."""
        return min(tokens, self.window + spare) if self.windowed[block] else tokens

    @property
    def kv_values_per_token(self) -> int:
        return sum(self.kv_values)


class _Tensor(NamedTuple):
    name: str
    type: str
    shape: tuple[int, ...]
    size_bytes: int

    @property
    def part(self) -> Part:
        return Part(self.type, math.prod(self.shape), self.size_bytes)


def anatomy_of(model: Model) -> Anatomy:
    """Read it off; what the file does not say counts as nothing."""
    tensors = tuple(
        _Tensor(*row, size_bytes)
        for row, size_bytes in zip(model.tensors, model.tensor_bytes, strict=False)
    )
    by_name = {tensor.name: tensor for tensor in tensors}
    reading, writing = by_name.get("token_embd.weight"), by_name.get("output.weight")
    rest = [t.part for t in tensors if t not in (reading, writing)]
    blocks = _fact(model, "block_count")
    window = _fact(model, "attention.sliding_window")
    return Anatomy(
        matrices=tuple(rest),
        reading=reading.part if reading else None,
        writing=writing.part if writing else None,
        read_bytes_per_token=_read_bytes(model, tensors),
        blocks=blocks,
        width=_fact(model, "embedding_length"),
        feed_forward=_feed_forward(model, tensors),
        vocabulary=reading.shape[-1] if reading else _fact(model, "vocab_size"),
        kv_values=tuple(_kv_values(model, by_name, block) for block in range(blocks)),
        windowed=tuple(_is_windowed(model, block, window) for block in range(blocks)),
        window=window,
    )


def is_encoder(model: Model) -> bool:
    """Whether it reads a text as a whole and keeps nothing of it."""
    name = model.architecture
    causal = model.metadata.get(f"{name}.attention.causal")
    return causal is False or "bert" in name or name == "gemma-embedding"


def _read_bytes(model: Model, tensors: tuple[_Tensor, ...]) -> int:
    """What one token makes the engine read: all but the experts it does not ask, and of the words
    it reads one row only."""
    if not tensors:
        return model.engine_bytes
    experts = _fact(model, "expert_count")
    share = _fact(model, "expert_used_count") / experts if experts else 1.0
    names = {tensor.name for tensor in tensors}
    total = 0.0
    for tensor in tensors:
        if tensor.name == "token_embd.weight" and "output.weight" in names:
            continue
        total += tensor.size_bytes * (share if "_exps" in tensor.name else 1.0)
    return round(total)


def _feed_forward(model: Model, tensors: tuple[_Tensor, ...]) -> int:
    experts = _fact(model, "expert_feed_forward_length") * _fact(model, "expert_used_count")
    seen = (t.shape[-1] for t in tensors if t.name.endswith("ffn_up.weight"))
    return max(_fact(model, "feed_forward_length") if not experts else 0, experts, *seen, 0)


def _kv_values(model: Model, tensors: dict[str, _Tensor], block: int) -> int:
    """Of one block; none where it keeps a state instead of keys and values."""
    if is_encoder(model):
        return 0
    own = {n: t for n in _TELLING if (t := tensors.get(f"blk.{block}.{n}")) is not None}
    if "attn_k.weight" in own and "attn_v.weight" in own:
        return own["attn_k.weight"].shape[-1] + own["attn_v.weight"].shape[-1]
    if "attn_kv_a_mqa.weight" in own:
        # Multi-head latent attention: keys and values are one short vector.
        return own["attn_kv_a_mqa.weight"].shape[-1]
    if own and not any(name.startswith("attn_") for name in own):
        return 0
    heads = _fact(model, "attention.head_count")
    width = _fact(model, "embedding_length") // heads if heads else 0
    key = _fact(model, "attention.key_length") or width
    value = _fact(model, "attention.value_length") or width
    return (_fact(model, "attention.head_count_kv") or heads) * (key + value)


def _is_windowed(model: Model, block: int, window: int) -> bool:
    if not window:
        return False
    pattern = _fact(model, "attention.sliding_window_pattern") or _PATTERNS.get(
        model.architecture, 0
    )
    return bool(pattern) and block % pattern < pattern - 1


def _fact(model: Model, name: str) -> int:
    """A number of the metadata; of a list with one for each layer the largest."""
    value: Any = model.metadata.get(f"{model.architecture}.{name}", 0)
    if isinstance(value, list):
        return max((int(v) for v in value), default=0)
    return int(value) if isinstance(value, int | float) else 0
