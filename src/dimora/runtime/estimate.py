"""How much memory a model will take, before it is loaded. Pure."""

from __future__ import annotations

from typing import Any

from dimora.tasks.base import Model
from dimora.tasks.options import LoadOptions

# The process itself, its libraries and its buffers for one batch.
_OVERHEAD_BYTES = 160 * 2**20
_KV_BYTES_PER_VALUE = 2


def estimate_bytes(model: Model, options: LoadOptions) -> int:
    """Weights, the key-value cache of all parallel answers, and the process around them."""
    cache = kv_bytes_per_token(model) * options.num_ctx * options.parallel
    return model.summary.size_bytes + cache + _OVERHEAD_BYTES


def kv_bytes_per_token(model: Model) -> int:
    """Bytes one token takes in the key-value cache (16-bit values); 0 where the file says nothing.

    Two vectors (key, value) per layer and key-value head.
    """

    def fact(name: str) -> int:
        return _largest(model.metadata.get(f"{model.architecture}.{name}", 0))

    heads = fact("attention.head_count")
    width = fact("embedding_length") // heads if heads else 0
    kv_heads = fact("attention.head_count_kv") or heads
    key = fact("attention.key_length") or width
    value = fact("attention.value_length") or width
    return fact("block_count") * kv_heads * (key + value) * _KV_BYTES_PER_VALUE


def _largest(value: Any) -> int:
    """Some models have one number per layer; the largest is the safe one."""
    if isinstance(value, list):
        return max((int(v) for v in value), default=0)
    return int(value) if isinstance(value, int | float) else 0
