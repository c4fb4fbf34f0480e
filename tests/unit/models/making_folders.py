"""Tiny folders in the formats of OpenVINO and ONNX Runtime GenAI, whole and broken."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"
CONFIG = {
    "model_type": "llama",
    "max_position_embeddings": 256,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
TOKENIZER = {
    "bos_token": "<s>",
    "eos_token": {"content": "</s>", "special": True},
    "chat_template": TEMPLATE,
}


def ir_xml(
    constants: str = '<data element_type="f16" shape="4, 8" offset="0" size="64" />',
    *,
    inputs: Iterable[str] = ("input_ids", "beam_idx"),
    outputs: Iterable[str] = ("logits",),
    notes: str = "",
    before: str = "",
) -> str:
    """A graph of one constant between its inputs and outputs."""
    layers = [f'<layer id="{n}" name="{name}" type="Parameter"/>' for n, name in enumerate(inputs)]
    layers.append(f'<layer id="90" name="weight" type="Const">{constants}</layer>')
    layers += [
        f'<layer id="9{n}" name="Result_{n}" type="Result" output_names="{name}"/>'
        for n, name in enumerate(outputs, 1)
    ]
    body = f"<layers>{''.join(layers)}</layers><edges/><rt_info>{notes}</rt_info>"
    return f'<?xml version="1.0"?>{before}<net name="Model0" version="11">{body}</net>'


def write_ir(folder: Path, xml: str = "", weights: bytes = bytes(64)) -> Path:
    """A folder of OpenVINO IR."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "openvino_model.xml").write_text(xml or ir_xml())
    (folder / "openvino_model.bin").write_bytes(weights)
    for part in ("tokenizer", "detokenizer"):
        (folder / f"openvino_{part}.xml").write_text(ir_xml("", outputs=["ids"]))
        (folder / f"openvino_{part}.bin").write_bytes(b"")
    return _write_words(folder)


def _write_words(folder: Path) -> Path:
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer_config.json").write_text(json.dumps(TOKENIZER))
    return folder


def field(number: int, value: int | bytes | str) -> bytes:
    """One field of a protobuf message: a number, or bytes."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def onnx_tensor(name: str, dims: Iterable[int], data_type: int, **place: object) -> bytes:
    """A TensorProto whose data lies in another file where `place` (location, ...) is given."""
    data = b"".join(field(1, n) for n in dims) + field(2, data_type) + field(8, name)
    for key, value in place.items():
        data += field(13, field(1, key) + field(2, str(value)))
    return data + (field(14, 1) if place else b"")


def onnx_node(operator: str, inputs: Iterable[str], **numbers: int) -> bytes:
    """A NodeProto with whole numbers as attributes."""
    data = b"".join(field(1, name) for name in inputs) + field(4, operator)
    return data + b"".join(field(5, field(1, k) + field(3, v)) for k, v in numbers.items())


def onnx_model(
    tensors: Iterable[bytes] = (), nodes: Iterable[bytes] = (), outputs: Iterable[str] = ("logits",)
) -> bytes:
    """A ModelProto with one graph."""
    graph = b"".join(field(1, node) for node in nodes) + field(2, "main")
    graph += b"".join(field(5, tensor) for tensor in tensors)
    graph += field(11, field(1, "input_ids"))
    graph += b"".join(field(12, field(1, name)) for name in outputs)
    return field(1, 10) + field(7, graph)


def packed_weights(location: str = "model.onnx.data", **place: object) -> bytes:
    """A graph of one matrix of 16 by 64 weights in 4 bits, whose bytes lie in another file."""
    return onnx_model(
        [
            onnx_tensor("w", (16, 2, 16), 2, location=location, **place),
            onnx_tensor("w_scales", (16, 2), 1),
            onnx_tensor("norm", (64,), 1),
        ],
        [onnx_node("MatMulNBits", ("x", "w", "w_scales"), K=64, N=16, bits=4, block_size=32)],
    )


def genai_config(**decoder: object) -> dict:
    decoder = {"filename": "model.onnx", "hidden_size": 8, "num_hidden_layers": 2} | decoder
    return {
        "model": {"type": "llama", "context_length": 128, "decoder": decoder, "eos_token_id": 2},
        "search": {"max_length": 128, "past_present_share_buffer": True},
    }


def write_onnx(folder: Path, graph: bytes = b"", config: dict | None = None) -> Path:
    """A folder of ONNX Runtime GenAI."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "genai_config.json").write_text(json.dumps(config or genai_config()))
    (folder / "model.onnx").write_bytes(graph or packed_weights())
    (folder / "model.onnx.data").write_bytes(bytes(512))
    return _write_words(folder)
