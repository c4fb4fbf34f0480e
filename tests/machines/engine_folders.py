"""Folders in the engines' own formats, made of a safetensors folder by the engines' own tools."""

from __future__ import annotations

from pathlib import Path

from tests.machines.checkpoints import run_script

# Both tools would send word of each run, and one asks a hub for files.
_SILENT = """
import os, sys
os.environ |= {"HF_HUB_OFFLINE": "1", "ORT_DISABLE_TELEMETRY": "1"}
sys.modules["openvino_telemetry"] = None
"""

_OPENVINO = (
    _SILENT
    + """
from optimum.commands.optimum_cli import main

source, target, weights = sys.argv[1:4]
words = ["--task", "text-generation-with-past", "--library", "transformers"]
words += ["--weight-format", weights, target]
sys.argv = ["optimum-cli", "export", "openvino", "--model", source, *words]
main()
"""
)

_ONNX = (
    _SILENT
    + """
from runpy import run_module

source, target, weights = sys.argv[1:4]
sys.argv = ["builder", "-i", source, "-o", target, "-p", weights, "-e", "cpu", "-c", target]
run_module("onnxruntime_genai.models.builder", run_name="__main__")
"""
)


def export_openvino(folder: Path, target: Path, weights: str) -> Path:
    """OpenVINO IR with its tokenizer; `weights` is `fp16` or `int8`. Takes about a minute."""
    run_script(_OPENVINO, str(folder), str(target), weights)
    return target


def export_onnx(folder: Path, target: Path, weights: str) -> Path:
    """A folder of ONNX Runtime GenAI; `weights` is `int8` or `int4`."""
    run_script(_ONNX, str(folder), str(target), weights)
    return target
