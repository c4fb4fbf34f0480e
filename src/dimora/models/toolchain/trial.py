"""Tries freshly built llama.cpp programs on tiny models of many formats.

A native build uses all the processor says it can do, and not all of that works everywhere: there
are machines where the kernels of one extension end the program. Better here than in a chat.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dimora.models.converting.programs import Program

# Formats the package gguf can write itself, and mixes llama-quantize makes of the F16 model.
WRITTEN = ("F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1")
MADE = ("Q4_K_M", "Q6_K", "Q3_K_M", "IQ4_XS")
_WIDTH, _INNER, _LAYERS, _HEADS, _WORDS = 256, 512, 2, 4, 256
_LIMIT_SECONDS = 60.0


async def failing_formats(bench: Path, quantize: Path, log_path: Path) -> list[str]:
    """The formats these programs cannot make or run; empty is what one wants. Takes seconds."""
    failing = []
    with tempfile.TemporaryDirectory(prefix="dimora-trial-") as scratch:
        models = {kind: Path(scratch) / f"{kind}.gguf" for kind in (*WRITTEN, *MADE)}
        await asyncio.to_thread(_write_models, models)
        for kind, path in models.items():
            if kind in MADE:
                make = [str(quantize), str(models["F16"]), str(path), kind, "2"]
                if await _fails(make, log_path):
                    failing.append(kind)
                    continue
            # A prompt of several rows and single tokens: these take different kernels.
            words = ["-p", "64", "-n", "4", "-r", "1", "-t", "2", "-ngl", "0", "--no-warmup"]
            if await _fails([str(bench), "-m", str(path), *words], log_path):
                failing.append(kind)
    return failing


async def _fails(argv: list[str], log_path: Path) -> bool:
    program = Program(argv, limit_seconds=_LIMIT_SECONDS, log_path=log_path)
    return await program.run() != 0


def _write_models(models: dict[str, Path]) -> None:
    import gguf
    import numpy as np

    random = np.random.default_rng(0)
    tensors = {
        name: random.standard_normal(shape).astype(np.float32) / shape[-1] ** 0.5
        for name, shape in _shapes()
    }
    for kind in WRITTEN:
        writer = gguf.GGUFWriter(models[kind], "llama")
        _describe(writer)
        for name, values in tensors.items():
            if values.ndim == 1:
                writer.add_tensor(name, np.ones_like(values))
                continue
            form = gguf.GGMLQuantizationType[kind]
            writer.add_tensor(name, gguf.quantize(values, form), raw_dtype=form)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def _describe(writer: Any) -> None:
    writer.add_context_length(256)
    writer.add_embedding_length(_WIDTH)
    writer.add_feed_forward_length(_INNER)
    writer.add_block_count(_LAYERS)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(_WORDS)
    writer.add_tokenizer_model("no_vocab")


def _shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a small llama, rows first."""
    yield "token_embd.weight", (_WORDS, _WIDTH)
    yield "output_norm.weight", (_WIDTH,)
    yield "output.weight", (_WORDS, _WIDTH)
    for layer in range(_LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"blk.{layer}.{name}.weight", (_WIDTH, _WIDTH)
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{layer}.{name}.weight", (_WIDTH,)
        for name in ("ffn_gate", "ffn_up"):
            yield f"blk.{layer}.{name}.weight", (_INNER, _WIDTH)
        yield f"blk.{layer}.ffn_down.weight", (_WIDTH, _INNER)
