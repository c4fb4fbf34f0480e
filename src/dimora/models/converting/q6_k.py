"""Packs weights into Q6_K blocks, the one format of llama.cpp's simple mixes that the package gguf
can only unpack.

A block holds 256 weights: 16 groups of 16, each weight 6 bits, each group a signed scale of 8 bits,
the block one 16-bit factor. The scale of a group is searched among 19 for the least squared error,
larger weights counting more. Source of layout and search: `quantize_row_q6_K_ref` of ggml.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Floats = np.ndarray[Any, np.dtype[np.float32]]
    Bytes = np.ndarray[Any, np.dtype[np.uint8]]

BLOCK = 256
BLOCK_BYTES = 210
_GROUP = 16
_MOST = 32
_TINY = 1e-15
# Blocks at a time: what is computed with them stays in the processor's cache.
_PIECE = 512


def pack_q6_k(values: Floats) -> Bytes:
    """Rows of 32-bit weights, their length a multiple of 256, as rows of bytes."""
    import numpy as np

    blocks = np.ascontiguousarray(values, dtype=np.float32).reshape(-1, BLOCK)
    pieces = [_packed(blocks[at : at + _PIECE]) for at in range(0, len(blocks), _PIECE)]
    return np.concatenate(pieces).reshape(*values.shape[:-1], -1)


def _packed(blocks: Floats) -> Bytes:
    import numpy as np

    groups = blocks.reshape(-1, BLOCK // _GROUP, _GROUP)
    scales = _best_scales(groups)
    largest = _signed_largest(scales)
    with np.errstate(divide="ignore"):
        inverse = np.where(np.abs(largest) < _TINY, np.float32(0), np.float32(-128) / largest)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(inverse == 0, np.float32(0), np.float32(1) / inverse).astype(np.float16)
    steps = np.minimum(np.rint(inverse * scales), 127).astype(np.int8)
    reach = factor.astype(np.float32) * steps.astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        numbers = np.where(reach[..., None] == 0, 0, np.rint(groups / reach[..., None]))
    numbers = np.clip(numbers, -_MOST, _MOST - 1).astype(np.int8) + np.int8(_MOST)
    return np.concatenate(
        [_pack(numbers.astype(np.uint8)), steps.view(np.uint8), factor.view(np.uint8)], axis=-1
    )


def _best_scales(groups: Floats) -> Floats:
    """One scale for each group: of those near the one that just reaches the largest weight, that
    with the least error."""
    import numpy as np

    largest = _signed_largest(groups)
    weights = groups * groups
    best = scale = np.zeros(groups.shape[:-1], dtype=np.float32)
    for number in (0, *range(-9, 0), *range(1, 10)):
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = -(np.float32(_MOST) + np.float32(0.1) * np.float32(number)) / largest
            fitted = np.clip(np.rint(inverse * groups), -_MOST, _MOST - 1)
            along = (weights * groups * fitted).sum(axis=-1, dtype=np.float32)
            power = (weights * fitted * fitted).sum(axis=-1, dtype=np.float32)
            better = (power > 0) & (along * along > best * power)
            found = along / power
        scale = np.where(better, found, scale)
        best = np.where(better, found * along, best)
    return np.where(np.abs(largest[..., 0]) < _TINY, np.float32(0), scale)


def _signed_largest(values: Floats) -> Floats:
    """The value farthest from zero along the last dimension, with its sign."""
    import numpy as np

    at = np.abs(values).argmax(axis=-1, keepdims=True)
    return np.take_along_axis(values, at, axis=-1)


def _pack(numbers: Bytes) -> Bytes:
    """Numbers of 6 bits as the low halves of all, then the high pairs of all, each half of a block
    for itself."""
    import numpy as np

    quarters = numbers.reshape(-1, 2, 4, 32)
    first, second, third, fourth = (quarters[:, :, at] for at in range(4))
    low = np.concatenate(
        [(first & 15) | ((third & 15) << 4), (second & 15) | ((fourth & 15) << 4)], axis=-1
    )
    high = (first >> 4) | ((second >> 4) << 2) | ((third >> 4) << 4) | ((fourth >> 4) << 6)
    return np.concatenate([low.reshape(-1, 128), high.reshape(-1, 64)], axis=-1)
