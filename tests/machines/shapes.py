"""Model files of any shape with random weights: as large and as quick as real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import msgspec
import numpy as np
import psutil

from dimora.models.store import ModelStore
from dimora.prompts.prompt import Prompt
from dimora.tasks.base import Model
from dimora.tasks.options import LoadOptions, Sampling
from tests.worker_client import worker

_HEAD_WIDTH = 64
_ANSWER_TOKENS = 8
_ROOM_TOKENS = 16
_FEW_TOKENS = 150
_FILE_TYPES = {"F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q4_K": 15, "Q6_K": 18}
_SKIPPED = ("GGUF.", "general.architecture", "llama.", "general.file_type")


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


# Eight models that differ in all that memory depends on, and how each is loaded.
SHAPES = (
    (
        Shape(name="small", blocks=6, width=384, heads=6, kv_heads=2, feed_forward=1024),
        LoadOptions(num_ctx=1024, parallel=1),
    ),
    (
        Shape(
            name="grouped",
            blocks=12,
            width=768,
            heads=12,
            kv_heads=4,
            feed_forward=2048,
            weights="Q4_0",
        ),
        LoadOptions(num_ctx=2048, parallel=4),
    ),
    (
        Shape(
            name="ungrouped",
            blocks=8,
            width=512,
            heads=8,
            kv_heads=8,
            feed_forward=1536,
            weights="F16",
        ),
        LoadOptions(num_ctx=2048, parallel=2),
    ),
    (
        Shape(
            name="many words",
            architecture="qwen2",
            blocks=10,
            width=896,
            heads=14,
            kv_heads=2,
            feed_forward=2432,
            vocabulary=98304,
        ),
        LoadOptions(num_ctx=1024, parallel=2),
    ),
    (
        Shape(
            name="own output",
            architecture="qwen2",
            blocks=16,
            width=512,
            heads=8,
            kv_heads=8,
            feed_forward=1536,
            vocabulary=65536,
            separate_output=True,
            weights="Q4_K",
        ),
        LoadOptions(num_ctx=4096, parallel=2),
    ),
    (
        Shape(
            name="wide",
            blocks=16,
            width=1280,
            heads=10,
            kv_heads=2,
            head_width=128,
            feed_forward=3584,
        ),
        LoadOptions(num_ctx=2048, parallel=2),
    ),
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
    for field in gguf.GGUFReader(source).fields.values():
        if field.name.startswith(_SKIPPED):
            continue
        value: Any = field.contents()
        if field.name == "tokenizer.ggml.tokens":
            value = [*value, *(f"<|filler_{n}|>" for n in range(vocabulary - len(value)))]
        if field.name == "tokenizer.ggml.token_type":
            unused = int(gguf.TokenType.UNUSED)
            value = [*value, *([unused] * (vocabulary - len(value)))]
        kind, *inner = field.types
        writer.add_key_value(field.name, value, kind, sub_type=inner[-1] if inner else None)


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


def measure_resident_bytes(
    engine: str, path: Path, model: Model, options: LoadOptions, scratch: Path, **extra: str
) -> int:
    """Load the model, let it write all its answers at once, and add up worker and children."""
    # llama.cpp has all of its cache in memory from the start, and reads slowly.
    length = _FEW_TOKENS if engine == "llama_cpp" else options.num_ctx - _ROOM_TOKENS
    settings = {name: getattr(options, name) for name in ("num_ctx", "parallel", "num_batch")}
    sampling = Sampling(temperature=0, num_predict=_ANSWER_TOKENS)
    with worker(engine, path, model, scratch, **settings, **extra) as client:
        # Different from the first word on, so that nothing is shared.
        prompts = [
            Prompt(tokens=tuple(5 + (answer * 1009 + n * 37) % 40000 for n in range(length)))
            for answer in range(options.parallel)
        ]
        for id_ in [client.start(prompt, sampling) for prompt in prompts]:
            *_, finish = client.read(id_)
            assert finish.output_tokens > 0
        process = psutil.Process(client.process.pid)
        family = [process, *process.children(recursive=True)]
        return sum(one.memory_info().rss for one in family)


def read_model(path: Path, scratch: Path) -> Model:
    """The model in a file, as the house sees it."""
    return ModelStore(scratch / "models", cache_path=scratch).find_file(path)
