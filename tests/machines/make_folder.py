"""Makes models that are folders of files out of a GGUF file, for the tests.

    python make_folder.py hf GGUF TARGET              safetensors, as transformers writes them
    python make_folder.py ir HF TARGET fp16|int8      OpenVINO IR
    python make_folder.py onnx HF TARGET int4|fp32    ONNX Runtime GenAI
    python make_folder.py lora HF TARGET              a LoRA adapter that changes every answer

Run in a process of its own: the libraries are large, and keep their memory.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

# The exporters would ask a hub for files, and both engines' tools send word of each run.
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "ORT_DISABLE_TELEMETRY": "1"}
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]


def make_hf(gguf: Path, target: Path) -> None:
    """A llama whose tokenizer splits words as SmolLM2 does."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float16
    )
    # It says that it is quantized, and would not be saved: its numbers are plain by now.
    model.hf_quantizer = None
    model.is_quantized = False
    vars(model.config).pop("quantization_config", None)
    model.save_pretrained(target)
    _write_tokenizer(gguf, target)


def _write_tokenizer(gguf: Path, target: Path) -> None:
    """What transformers reads of a llama in GGUF is a tokenizer of another kind, so: our own."""
    from gguf import GGUFReader
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    fields = GGUFReader(gguf).fields

    def value(key: str) -> Any:
        return fields[f"tokenizer.{key}"].contents()

    tokens = value("ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in value("ggml.merges")]
    tokenizer = Tokenizer(models.BPE({token: at for at, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = zip(tokens, value("ggml.token_type"), strict=True)
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t, kind in kinds if kind == 3]
    )
    tokenizer.save(str(target / "tokenizer.json"))
    told = {
        "tokenizer_class": "GPT2Tokenizer",
        "add_prefix_space": False,
        "bos_token": tokens[value("ggml.bos_token_id")],
        "eos_token": tokens[value("ggml.eos_token_id")],
        "unk_token": tokens[value("ggml.unknown_token_id")],
        "clean_up_tokenization_spaces": False,
        "model_max_length": 8192,
        "chat_template": value("chat_template"),
    }
    (target / "tokenizer_config.json").write_text(json.dumps(told, indent=1))


def make_ir(source: Path, target: Path, weights: str) -> None:
    from optimum.commands.optimum_cli import main

    task = ["--task", "text-generation-with-past", "--library", "transformers"]
    sys.argv = ["optimum-cli", "export", "openvino", "--model", str(source), *task]
    sys.argv += ["--weight-format", weights, str(target)]
    main()


def make_onnx(source: Path, target: Path, weights: str) -> None:
    from runpy import run_module

    words = ["-i", source, "-o", target, "-p", weights, "-e", "cpu", "-c", target / "cache"]
    sys.argv = ["builder", *map(str, words)]
    run_module("onnxruntime_genai.models.builder", run_name="__main__")


if __name__ == "__main__":
    kind, *rest = sys.argv[1:]
    {"hf": make_hf, "ir": make_ir, "onnx": make_onnx}[kind](Path(rest[0]), Path(rest[1]), *rest[2:])
