"""The header of a model file is read whole or refused by name, whatever is in the file."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest

from dimora.core.errors import InvalidModel
from dimora.models.formats.gguf import Header, read_header
from tests.unit.models.making import TEMPLATE, TOKENS, tiny_gguf
from tests.unit.models.raw_gguf import ARCHITECTURE, MAGIC, file_of, pair, tensor, text


def read(tmp_path: Path, data: bytes) -> Header:
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    return read_header(path)


def refusal(tmp_path: Path, data: bytes) -> str:
    with pytest.raises(InvalidModel) as caught:
        read(tmp_path, data)
    return caught.value.message


def test_a_file_made_by_the_gguf_package_is_read_whole(tmp_path: Path) -> None:
    header = read_header(tiny_gguf(tmp_path / "a.gguf", numbers={"llama.vocab_size": 10}))
    assert header.version == 3
    assert header.architecture == "llama"
    assert header.metadata["general.name"] == "Tiny"
    assert header.metadata["llama.context_length"] == 128
    assert header.metadata["tokenizer.chat_template"] == TEMPLATE
    assert header.metadata["tokenizer.ggml.tokens"] == []
    assert header.lengths["tokenizer.ggml.tokens"] == len(TOKENS)
    rows = {row.name: row for row in header.tensors}
    assert rows["token_embd.weight"].shape == (32, 10)
    assert rows["token_embd.weight"].type == "F32"
    assert rows["token_embd.weight"].size_bytes == 1280
    assert rows["blk.0.attn_q.weight"].type == "Q4_0"
    assert rows["blk.0.attn_q.weight"].elements == 128
    assert rows["blk.0.attn_q.weight"].size_bytes == 72


def test_strings_of_a_long_array_are_found_by_their_place(tmp_path: Path) -> None:
    tokens = [f"token-{n}" for n in range(10_000)]
    header = read_header(tiny_gguf(tmp_path / "a.gguf", tokens=tokens))
    for index in (0, 1, 2047, 2048, 2049, 4096, 9999):
        assert header.texts.at("tokenizer.ggml.tokens", index) == tokens[index]
    for index in (-1, 10_000):
        assert header.texts.at("tokenizer.ggml.tokens", index) == ""
    assert header.texts.at("no.such.key", 0) == ""
    assert header.texts.has("tokenizer.ggml.tokens", "token-9999")
    assert not header.texts.has("tokenizer.ggml.tokens", "token-99999")
    assert not header.texts.has("no.such.key", "token-1")


def test_bytes_that_only_look_like_a_string_are_not_found(tmp_path: Path) -> None:
    inside = (struct.pack("<Q", 3) + b"abc").decode("latin-1")
    tokens = [inside, *(f"t{n}" for n in range(10))]
    header = read_header(tiny_gguf(tmp_path / "a.gguf", tokens=tokens))
    assert not header.texts.has("tokenizer.ggml.tokens", "abc")
    assert header.texts.has("tokenizer.ggml.tokens", inside)
    assert header.texts.has("tokenizer.ggml.tokens", "t9")


def test_other_files_are_not_models(tmp_path: Path) -> None:
    assert refusal(tmp_path, b"") == "not a GGUF file"
    assert refusal(tmp_path, b"GGU") == "not a GGUF file"
    assert refusal(tmp_path, b"PK\x03\x04" + bytes(100)) == "not a GGUF file"


@pytest.mark.parametrize("version", [0, 1, 4, 2**31])
def test_versions_we_do_not_know_are_refused(tmp_path: Path, version: int) -> None:
    assert f"version {version}" in refusal(tmp_path, file_of([ARCHITECTURE], [], version=version))


def test_version_two_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, file_of([ARCHITECTURE], [], version=2)).version == 2


def test_a_file_for_big_endian_machines_is_named_so(tmp_path: Path) -> None:
    assert "big-endian" in refusal(tmp_path, MAGIC + struct.pack(">I", 3) + bytes(64))


@pytest.mark.parametrize("alignment", [0, 3, 33, 2**31])
def test_an_impossible_alignment_is_refused(tmp_path: Path, alignment: int) -> None:
    wrong = pair("general.alignment", 4, struct.pack("<I", alignment))
    assert "alignment" in refusal(tmp_path, file_of([wrong], []))


def test_an_alignment_that_is_no_number_is_refused(tmp_path: Path) -> None:
    assert "alignment" in refusal(tmp_path, file_of([pair("general.alignment", 8, text("32"))], []))


@pytest.mark.parametrize("count", [2**20, 2**63, 2**64 - 1])
def test_huge_counts_are_refused_at_once(tmp_path: Path, count: int) -> None:
    for counts in ((count, 1), (1, count)):
        data = MAGIC + struct.pack("<IQQ", 3, *counts) + bytes(200)
        started = time.perf_counter()
        assert "do not fit" in refusal(tmp_path, data)
        assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize("length", [100, 2**31, 2**63, 2**64 - 1])
def test_a_string_that_lies_about_its_length_is_refused(tmp_path: Path, length: int) -> None:
    lie = struct.pack("<Q", length) + b"llama"
    data = file_of([pair("general.architecture", 8, lie)], [], data_bytes=0)
    assert "general.architecture" in refusal(tmp_path, data)
    key = MAGIC + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", length) + bytes(40)
    assert refusal(tmp_path, key)


@pytest.mark.parametrize("count", [50, 2**22 + 1, 2**60, 2**64 - 1])
@pytest.mark.parametrize("kind", [0, 4, 8, 9, 12])
def test_an_array_that_lies_about_its_length_is_refused(
    tmp_path: Path, count: int, kind: int
) -> None:
    lie = pair("x.array", 9, struct.pack("<IQ", kind, count) + bytes(20))
    assert "x.array" in refusal(tmp_path, file_of([lie], [], data_bytes=0))


def test_a_string_inside_a_long_array_that_lies_is_refused(tmp_path: Path) -> None:
    body = b"".join(text(f"t{n}") for n in range(9)) + struct.pack("<Q", 2**63) + b"x"
    lie = pair("x.array", 9, struct.pack("<IQ", 8, 10) + body)
    assert "x.array" in refusal(tmp_path, file_of([lie], []))


def test_arrays_in_arrays_are_read_but_not_without_end(tmp_path: Path) -> None:
    inner = struct.pack("<IQ", 4, 2) + struct.pack("<II", 7, 8)
    nested = pair("x.nested", 9, struct.pack("<IQ", 9, 1) + inner)
    assert read(tmp_path, file_of([nested], [])).metadata["x.nested"] == [[7, 8]]
    deep = pair("x.deep", 9, struct.pack("<IQ", 9, 1) * 500 + inner)
    assert "nested too deeply" in refusal(tmp_path, file_of([deep], []))


def test_unknown_types_are_refused_by_name(tmp_path: Path) -> None:
    assert "'x.key' has the unknown type 13" in refusal(
        tmp_path, file_of([pair("x.key", 13, bytes(8))], [])
    )
    assert "'x.key' has the unknown type 99" in refusal(
        tmp_path, file_of([pair("x.key", 9, struct.pack("<IQ", 99, 1) + bytes(8))], [])
    )
    assert "'weight' has the unknown type 4" in refusal(
        tmp_path, file_of([], [tensor("weight", kind=4)])
    )


def test_names_that_are_not_utf8_or_come_twice_are_refused(tmp_path: Path) -> None:
    assert "not UTF-8" in refusal(tmp_path, file_of([pair(b"\xff\xfe", 4, bytes(4))], []))
    assert "twice" in refusal(tmp_path, file_of([ARCHITECTURE, ARCHITECTURE], []))
    twice = [tensor("a", offset=0), tensor("a", offset=32)]
    assert "twice" in refusal(tmp_path, file_of([], twice))


def test_a_text_that_is_not_utf8_is_read_with_replacements(tmp_path: Path) -> None:
    header = read(tmp_path, file_of([pair("x.text", 8, text(b"a\xffb"))], []))
    assert header.metadata["x.text"] == "a\ufffdb"


def test_tensors_must_lie_inside_the_file(tmp_path: Path) -> None:
    assert read(tmp_path, file_of([], [tensor("a", (16,))])).tensors[0].size_bytes == 64
    for row in (
        tensor("a", (17,)),
        tensor("a", (16,), offset=32),
        tensor("a", (2**40, 2**40, 2**40, 2**40)),
        tensor("a", (16,), offset=2**63),
    ):
        assert "truncated" in refusal(tmp_path, file_of([], [row]))


def test_tensors_must_be_aligned_whole_and_apart(tmp_path: Path) -> None:
    assert "aligned" in refusal(tmp_path, file_of([], [tensor("a", offset=4)]))
    assert "over another" in refusal(
        tmp_path, file_of([], [tensor("a", (16,)), tensor("b", (4,), offset=32)])
    )
    assert "blocks" in refusal(tmp_path, file_of([], [tensor("a", (33,), kind=2)]))
    assert "dimensions" in refusal(tmp_path, file_of([], [tensor("a", (1, 1, 1, 1, 1))]))


def test_every_scalar_type_is_read(tmp_path: Path) -> None:
    values = {
        0: ("<B", 200),
        1: ("<b", -3),
        2: ("<H", 60000),
        3: ("<h", -30000),
        4: ("<I", 2**32 - 1),
        5: ("<i", -(2**31)),
        6: ("<f", 0.5),
        7: ("<?", True),
        10: ("<Q", 2**64 - 1),
        11: ("<q", -(2**63)),
        12: ("<d", 0.1),
    }
    pairs = [
        pair(f"k{kind}", kind, struct.pack(form, value)) for kind, (form, value) in values.items()
    ]
    found = read(tmp_path, file_of(pairs, [])).metadata
    assert found == {f"k{kind}": value for kind, (_, value) in values.items()}


def test_a_large_vocabulary_is_read_quickly(tmp_path: Path) -> None:
    path = tiny_gguf(tmp_path / "a.gguf", tokens=[f"▁token{n}" for n in range(250_000)])
    best = min(timed(path) for _ in range(3))
    assert best < 0.5


def timed(path: Path) -> float:
    started = time.perf_counter()
    read_header(path)
    return time.perf_counter() - started
