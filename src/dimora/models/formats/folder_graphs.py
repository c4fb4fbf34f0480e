"""What the graphs of a model's folder say, and whether they are what an engine can run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from dimora.core.errors import InvalidModel
from dimora.models.formats import ir_file, onnx_file
from dimora.models.formats.folder_words import read_object
from dimora.models.names import is_relative_path

IR_PARTS = ("openvino_model", "openvino_tokenizer", "openvino_detokenizer")
# Models of many parts have about a dozen.
_GRAPHS = 32
_VECTORS = frozenset({"last_hidden_state", "token_embeddings", "sentence_embedding"})
# Types of weights by how OpenVINO calls them.
_IR_TYPES = {
    "f32": "F32",
    "f16": "F16",
    "bf16": "BF16",
    "i8": "INT8",
    "u8": "INT8",
    "i4": "INT4",
    "u4": "INT4",
}
# Parts of a model that hear and see, which need more than text to run.
_SENSES = ("vision", "speech", "encoder", "embedding", "joiner", "vad")


class Graphs(msgspec.Struct, frozen=True, kw_only=True):
    """`raw` are the files of weights, which are bytes of any kind. `embeds`: it gives vectors."""

    raw: frozenset[str]
    parameters: int
    quantization: str
    tensor_types: tuple[str, ...]
    embeds: bool = False


def read_openvino(files: Mapping[str, Path]) -> Graphs:
    """Raises InvalidModel for an IR that is damaged, or that no text model is."""
    raw = frozenset(name for name in files if name.endswith(".bin") and _xml_of(name) in files)
    pairs = {
        name: (path, files.get(_bin_of(name)))
        for name, path in files.items()
        if name.endswith(".xml")
    }
    _require_few(len(pairs))
    # One file may have many names.
    read = {pair: ir_file.read_graph(*pair) for pair in dict.fromkeys(pairs.values())}
    model = read[pairs[f"{IR_PARTS[0]}.xml"]]
    embeds = "logits" not in model.outputs and not _VECTORS.isdisjoint(model.outputs)
    if not embeds and ("logits" not in model.outputs or "beam_idx" not in model.inputs):
        raise InvalidModel(
            "OpenVINO IR: the graph is no model that writes text or gives vectors",
            hint="export it with the task text-generation-with-past or feature-extraction",
        )
    for part in IR_PARTS[1 : 2 if embeds else 3]:
        if f"{part}.xml" not in files:
            raise InvalidModel(
                f"OpenVINO IR: the folder has no {part}.xml",
                hint="convert_tokenizer of the package openvino-tokenizers makes it",
            )
    elements = {_IR_TYPES.get(kind, kind.upper()): n for kind, n in model.elements.items()}
    notes = model.notes
    mode = notes.get("nncf/weight_compression/mode", "").upper()
    group = notes.get("nncf/weight_compression/group_size", "")
    return Graphs(
        raw=raw,
        parameters=sum(model.elements.values()),
        quantization=_with_group(mode or _most(elements), group),
        tensor_types=tuple(sorted(elements)),
        embeds=embeds,
    )


def _require_few(count: int) -> None:
    """Raises InvalidModel: to read a graph takes a while."""
    if count > _GRAPHS:
        raise InvalidModel(
            f"the folder has {count} graphs, more than the {_GRAPHS} a model may have"
        )


def _xml_of(name: str) -> str:
    return f"{name.removesuffix('.bin')}.xml"


def _bin_of(name: str) -> str:
    return f"{name.removesuffix('.xml')}.bin"


def read_onnx(files: Mapping[str, Path]) -> Graphs:
    """Raises InvalidModel for a folder that is damaged, asks for code, or is no text model."""
    genai = read_object(files, "genai_config.json")
    model = genai.get("model")
    decoder = model.get("decoder") if isinstance(model, dict) else None
    if not isinstance(decoder, dict) or not isinstance(model, dict):
        raise InvalidModel("ONNX: genai_config.json names no decoder")
    for key, _ in _walk(genai):
        if key == "custom_ops_library":
            raise InvalidModel("ONNX: the model wants to load a library of its own: refused")
    sense = next((part for part in _SENSES if part in model), None)
    if sense or "pipeline" in decoder:
        raise InvalidModel(
            f"ONNX: the model has a part for {sense or 'a pipeline'}, and only text models of one"
            " graph are known here"
        )
    if model.get("tokenizer_dir"):
        raise InvalidModel("ONNX: its tokenizer is to lie in another folder: refused")
    graph = str(decoder.get("filename") or "model.onnx")
    if not is_relative_path(graph) or graph not in files:
        raise InvalidModel(f"ONNX: the folder has no {graph[:80]!r}")
    if "tokenizer_config.json" not in files:
        raise InvalidModel("ONNX: the folder has no tokenizer_config.json")
    sizes = {name: path.stat().st_size for name, path in files.items()}
    read = onnx_file.read_graph(files[graph], sizes)
    if "logits" not in read.outputs and str(_logits(decoder)) not in read.outputs:
        raise InvalidModel("ONNX: the graph gives no logits, so it writes no text")
    types = {kind for kind, count in read.elements.items() if count}
    return Graphs(
        raw=read.places,
        parameters=sum(read.elements.values()),
        quantization=_with_group(_most(read.elements), str(read.block_size)),
        tensor_types=tuple(sorted(types)),
    )


def onnx_places(files: Mapping[str, Path]) -> frozenset[str]:
    """The files that the graphs of a folder keep weights in. Raises InvalidModel, OSError."""
    sizes = {name: path.stat().st_size for name, path in files.items()}
    graphs = [path for name, path in files.items() if name.endswith(".onnx")]
    _require_few(len(graphs))
    read = (onnx_file.read_graph(path, sizes) for path in dict.fromkeys(graphs))
    return frozenset().union(*(graph.places for graph in read))


def _logits(decoder: dict[str, Any]) -> Any:
    outputs = decoder.get("outputs")
    return outputs.get("logits") if isinstance(outputs, dict) else None


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key anywhere in a JSON value."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield from one.items()
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _most(elements: Mapping[str, int]) -> str:
    return max(elements, key=lambda kind: elements[kind]) if elements else ""


def _with_group(kind: str, group: str) -> str:
    """`INT4_SYM_G128`: weights in few bits share a scale in groups."""
    return (
        f"{kind}_G{group}" if kind.startswith("INT4") and group.isdigit() and group != "0" else kind
    )
