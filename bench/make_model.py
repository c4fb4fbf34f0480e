"""Makes GGUF files of any shape with random weights: as large and as quick as real ones.

    python bench/make_model.py TOKENIZER.gguf OUT.gguf

writes a Llama of three billion weights in Q4_0, or another with --blocks, --width and so on; the
words are those of TOKENIZER.gguf. What it answers means nothing.
"""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import msgspec
import numpy as np

_HEAD_WIDTH = 64
_FILE_TYPES = {"F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q4_K": 15, "Q6_K": 18}
_NUMBERS = (
    *(
        "blocks",
        "width",
        "heads",
        "kv_heads",
        "head_width",
        "feed_forward",
        "vocabulary",
        "context",
    ),
)
_SKIPPED = ("GGUF.", "general.architecture", "llama.", "qwen2.", "general.file_type")


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What a model looks like. `weights` is the format of its matrices; a `separate_output` has
    an output matrix of its own, the others write with the one they read tokens with."""

    name: str
    architecture: str = "llama"
    blocks: int
    width: int
    heads: int
    kv_heads: int
    head_width: int = _HEAD_WIDTH
    feed_forward: int
    vocabulary: int = 49152
    separate_output: bool = False
    context: int = 8192
    weights: str = "Q8_0"


THREE_BILLION = Shape(
    name="3B",
    blocks=28,
    width=3072,
    heads=24,
    kv_heads=8,
    head_width=128,
    feed_forward=8192,
    weights="Q4_0",
)


def make_model(shape: Shape, tokenizer: Path, path: Path) -> Path:
    """Write the file; `tokenizer` is a GGUF whose words are taken, with fillers as needed."""
    writer = gguf.GGUFWriter(path, shape.architecture)
    _copy_tokenizer(writer, tokenizer, shape.vocabulary)
    _write_facts(writer, shape)
    random = np.random.default_rng(7)
    for name, rows, columns in _matrices(shape):
        kind = gguf.GGMLQuantizationType[shape.weights]
        data = _noise(random, rows, columns, kind)
        writer.add_tensor(name, data, raw_dtype=kind)
    for name, length in _vectors(shape):
        data = (
            np.zeros(length, np.float32) if name.endswith("bias") else np.ones(length, np.float32)
        )
        writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _copy_tokenizer(writer: gguf.GGUFWriter, source: Path, vocabulary: int) -> None:
    for name, value, (kind, *inner) in _read_tokenizer(source):
        if name == "tokenizer.ggml.tokens":
            if len(value) > vocabulary:
                raise ValueError(f"the tokenizer has {len(value)} words: --vocabulary is too small")
            value = [*value, *(f"<|filler_{n}|>" for n in range(vocabulary - len(value)))]
        if name == "tokenizer.ggml.token_type":
            unused = int(gguf.TokenType.UNUSED)
            value = [*value, *([unused] * (vocabulary - len(value)))]
        if name == "tokenizer.ggml.scores":
            value = [*value, *([0.0] * (vocabulary - len(value)))]
        writer.add_key_value(name, value, kind, sub_type=inner[-1] if inner else None)


@cache
def _read_tokenizer(source: Path) -> list[tuple[str, Any, list[gguf.GGUFValueType]]]:
    """Name, value and types of each fact; read once, which takes seconds."""
    fields = gguf.GGUFReader(source).fields.values()
    kept = [field for field in fields if not field.name.startswith(_SKIPPED)]
    return [(field.name, field.contents(), field.types) for field in kept]


def _write_facts(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_block_count(shape.blocks)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_width)
    writer.add_value_length(shape.head_width)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(100000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(_FILE_TYPES[shape.weights])


def _matrices(shape: Shape) -> list[tuple[str, int, int]]:
    """Name, rows, columns."""
    queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    rows = [("token_embd.weight", shape.vocabulary, shape.width)]
    if shape.separate_output:
        rows.append(("output.weight", shape.vocabulary, shape.width))
    for block in range(shape.blocks):
        rows += [
            (f"blk.{block}.attn_q.weight", queries, shape.width),
            (f"blk.{block}.attn_k.weight", keys, shape.width),
            (f"blk.{block}.attn_v.weight", keys, shape.width),
            (f"blk.{block}.attn_output.weight", shape.width, queries),
            (f"blk.{block}.ffn_gate.weight", shape.feed_forward, shape.width),
            (f"blk.{block}.ffn_up.weight", shape.feed_forward, shape.width),
            (f"blk.{block}.ffn_down.weight", shape.width, shape.feed_forward),
        ]
    return rows


def _vectors(shape: Shape) -> list[tuple[str, int]]:
    queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    rows = [("output_norm.weight", shape.width)]
    for block in range(shape.blocks):
        rows += [(f"blk.{block}.attn_norm.weight", shape.width)]
        rows += [(f"blk.{block}.ffn_norm.weight", shape.width)]
        if shape.architecture == "qwen2":
            rows += [(f"blk.{block}.attn_q.bias", queries)]
            rows += [(f"blk.{block}.attn_k.bias", keys), (f"blk.{block}.attn_v.bias", keys)]
    return rows


def _noise(
    random: np.random.Generator, rows: int, columns: int, kind: gguf.GGMLQuantizationType
) -> np.ndarray[Any, Any]:
    """Small random numbers in the bytes of the format, without making the numbers first."""
    if kind == gguf.GGMLQuantizationType.F16:
        return (random.standard_normal((rows, columns), np.float32) * 0.02).astype(np.float16)
    block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    data = random.integers(0, 256, (rows, columns // block, block_bytes), np.uint8)
    # A block's scale is a 16-bit float at its beginning (and its least value the next), in Q6_K at
    # its end.
    at = block_bytes - 2 if kind == gguf.GGMLQuantizationType.Q6_K else 0
    data[..., at : at + 2] = np.frombuffer(np.float16(0.02 / 64).tobytes(), np.uint8)
    if kind in (gguf.GGMLQuantizationType.Q4_1, gguf.GGMLQuantizationType.Q4_K):
        data[..., 2:4] = np.frombuffer(np.float16(-0.02 / 8).tobytes(), np.uint8)
    return data.reshape(rows, -1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokenizer", type=Path, help="a GGUF whose words the model gets")
    parser.add_argument("out", type=Path)
    for name in _NUMBERS:
        default = getattr(THREE_BILLION, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    parser.add_argument("--weights", choices=sorted(_FILE_TYPES), default=THREE_BILLION.weights)
    told = vars(parser.parse_args())
    tokenizer, out = told.pop("tokenizer"), told.pop("out")
    shape = msgspec.structs.replace(THREE_BILLION, **told)
    make_model(shape, tokenizer, out)
    print(f"{out}: {out.stat().st_size / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
