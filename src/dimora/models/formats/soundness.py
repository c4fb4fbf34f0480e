"""Checks that the numbers in a GGUF header can be those of a model.

Engines divide by them, make room by them, and read one array by the length of another; most of
them stop the whole process when that goes wrong. What a header leaves out is not missed here.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from dimora.core.errors import InvalidModel

if TYPE_CHECKING:
    from dimora.models.formats.gguf import Header

_BLOCKS = 4096
_WIDTH = 1 << 24

# Whole numbers by the end of their key: the least and the most a model may have.
_RANGES: dict[str, tuple[int, int]] = {
    "block_count": (1, _BLOCKS),
    "decoder_block_count": (1, _BLOCKS),
    "context_length": (1, 1 << 30),
    "embedding_length": (1, _WIDTH),
    "vocab_size": (1, _WIDTH),
    "feed_forward_length": (0, _WIDTH),
    "expert_feed_forward_length": (0, _WIDTH),
    "expert_count": (0, 4096),
    "expert_used_count": (0, 4096),
    "expert_shared_count": (0, 4096),
    "expert_group_count": (0, 4096),
    "leading_dense_block_count": (0, _BLOCKS),
    "attention.head_count": (1, 1 << 16),
    "attention.head_count_kv": (1, 1 << 16),
    "attention.key_length": (1, 1 << 16),
    "attention.value_length": (1, 1 << 16),
    "rope.dimension_count": (1, 1 << 16),
    "ssm.conv_kernel": (1, 1 << 16),
    "ssm.inner_size": (1, _WIDTH),
    "ssm.state_size": (1, _WIDTH),
    "ssm.time_step_rank": (1, _WIDTH),
    "wkv.head_size": (1, 1 << 16),
}
# The same for the parts of a model that see and hear.
_SENSE_RANGES: dict[str, tuple[int, int]] = {
    "block_count": (0, _BLOCKS),
    "embedding_length": (1, _WIDTH),
    "feed_forward_length": (0, _WIDTH),
    "attention.head_count": (1, 1 << 16),
    "image_size": (1, 1 << 16),
    "patch_size": (1, 1 << 16),
    "spatial_merge_size": (1, 1 << 10),
    "projector.scale_factor": (1, 1 << 10),
    "projector.stack_factor": (1, 1 << 10),
    "num_mel_bins": (1, 1 << 16),
}
# Models that remember instead of attending have none of these in some or all of their blocks.
_NOT_IN_EVERY_BLOCK = frozenset(
    {
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "attention.value_length",
        "rope.dimension_count",
    }
)
_ARCHITECTURE = re.compile(r"[\w.-]{0,64}", re.ASCII)
_RECURRENT = ("ssm.", "wkv.", "shortconv.")
_WHOLE_TYPES = frozenset({"u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64"})
_TOKENS = "tokenizer.ggml.tokens"
# Arrays that are read by the number of tokens, with the types engines take them for.
_BESIDE_TOKENS = {
    "tokenizer.ggml.scores": ("[f32]",),
    "tokenizer.ggml.token_type": ("[i32]", "[u32]"),
}


def require_sound(header: Header) -> None:
    """Raises InvalidModel naming the first number that no model has."""
    architecture = header.architecture
    is_text = header.types.get("general.architecture", "string") == "string"
    if not is_text or not _ARCHITECTURE.fullmatch(architecture):
        raise InvalidModel("GGUF: the name of the architecture is no name")
    recurrent = any(
        key.startswith(tuple(f"{architecture}.{part}" for part in _RECURRENT))
        for key in header.metadata
    )
    for ending, (least, most) in _RANGES.items():
        _require_range(
            header,
            f"{architecture}.{ending}",
            0 if recurrent and ending in _NOT_IN_EVERY_BLOCK else least,
            most,
        )
    for sense in ("vision", "audio"):
        for ending, (least, most) in _SENSE_RANGES.items():
            _require_range(header, f"{architecture}.{sense}.{ending}", least, most)
    _require_finite(header, architecture, recurrent)
    _require_heads(header, architecture)
    _require_experts(header, architecture)
    _require_blocks(header, architecture)
    _require_vocabulary(header)


def _require_range(header: Header, key: str, least: int, most: int) -> None:
    """A number, or one for each block, some of which may have none of what is counted."""
    kind = header.types.get(key)
    if kind is None:
        return
    if kind in _WHOLE_TYPES:
        smallest = largest = header.metadata[key]
        if least <= smallest <= most:
            return
    elif kind[1:-1] in _WHOLE_TYPES and key in header.ranges:
        smallest, largest = header.ranges[key]
        if smallest >= 0 and least <= largest <= most:
            return
    else:
        raise InvalidModel(f"GGUF: metadata {key[:80]!r} has the type {kind!r}, no whole number")
    wrong = largest if largest > most else smallest
    raise InvalidModel(f"GGUF: metadata {key[:80]!r} is {wrong}, which no model has")


def _require_finite(header: Header, architecture: str, recurrent: bool) -> None:
    for key, value in header.metadata.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidModel(f"GGUF: metadata {key[:80]!r} is {value}, which no model has")
    base = header.metadata.get(f"{architecture}.rope.freq_base", 1.0)
    if not isinstance(base, float) or base < 0 or (base == 0 and not recurrent):
        raise InvalidModel(f"GGUF: the base of the rotations is {base!r}, which no model has")


def _require_heads(header: Header, architecture: str) -> None:
    heads = _number(header, f"{architecture}.attention.head_count")
    shared = _number(header, f"{architecture}.attention.head_count_kv")
    if shared and heads % shared:
        raise InvalidModel(f"GGUF: {heads} heads cannot share {shared}")


def _require_experts(header: Header, architecture: str) -> None:
    count = _number(header, f"{architecture}.expert_count")
    used = _number(header, f"{architecture}.expert_used_count")
    # There may be a number for each block instead.
    told_once = header.types.get(f"{architecture}.expert_used_count", "u32")[0] != "["
    if told_once and not min(count, 1) <= used <= count:
        raise InvalidModel(f"GGUF: {used} of {count} experts are used, which no model does")
    groups = _number(header, f"{architecture}.expert_group_count")
    if groups > 1 and (groups >= count or count % groups):
        raise InvalidModel(f"GGUF: {count} experts do not make {groups} groups")


def _require_blocks(header: Header, architecture: str) -> None:
    """Every block has a tensor at least; a part of a split model need not have them all."""
    count = _number(header, f"{architecture}.block_count")
    is_whole = "split.count" not in header.metadata and header.tensors
    if is_whole and count > len(header.tensors):
        raise InvalidModel(f"GGUF: {count} blocks of {len(header.tensors)} tensors, too many")


def _number(header: Header, key: str) -> int:
    """A single whole number, 0 where there is none."""
    value = header.metadata.get(key, 0)
    return value if isinstance(value, int) else 0


def _require_vocabulary(header: Header) -> None:
    count = header.lengths.get(_TOKENS)
    if count is None:
        if _TOKENS in header.types:
            raise InvalidModel("GGUF: the vocabulary is not a list")
        return
    if header.types[_TOKENS] != "[string]" or not count:
        raise InvalidModel("GGUF: the vocabulary is empty or not a list of texts")
    for key, kinds in _BESIDE_TOKENS.items():
        if key not in header.types:
            continue
        if header.types[key] not in kinds:
            raise InvalidModel(f"GGUF: metadata {key!r} has the wrong type {header.types[key]!r}")
        if header.lengths[key] != count:
            raise InvalidModel(
                f"GGUF: metadata {key!r} has {header.lengths[key]} entries for {count} tokens"
            )
    for tensor in header.tensors:
        rows = tensor.shape[1] if len(tensor.shape) == 2 else -1
        if tensor.name == "token_embd.weight" and rows != count:
            raise InvalidModel(f"GGUF: {count} tokens do not fit an embedding of {tensor.shape}")
