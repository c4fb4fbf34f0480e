"""Model files made by hand to be wrong: each is refused, or read, as the table says.

Every file, right or wrong, is done with in a second and 64 MiB, and only InvalidModel comes out.
"""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest

from dimora.core.errors import InvalidModel
from dimora.models.formats.facts import facts_of
from dimora.models.formats.gguf import read_header
from tests.bounds import within_bounds
from tests.unit.models.making import tiny_gguf
from tests.unit.models.raw_gguf import (
    ARCHITECTURE,
    ARRAY,
    BOOL,
    F32,
    F64,
    I32,
    I64,
    STRING,
    U8,
    U32,
    U64,
    array,
    file_of,
    number,
    pair,
    tensor,
    text,
)

HUGE = 2**64 - 1
READ = "it is read"
# Large files are made when they are needed.
Case = bytes | Callable[[], bytes]


def llama(*pairs: bytes, tensors: list[bytes] | None = None, **more: Any) -> bytes:
    """A file of the llama family with these keys; without tensors unless they are given."""
    return file_of([ARCHITECTURE, *pairs], tensors or [], **more)


def key(kind: int, value: bytes, name: str = "x.key") -> bytes:
    return llama(pair(name, kind, value))


def rows(*tensors: bytes, **more: Any) -> bytes:
    return llama(tensors=list(tensors), **more)


def tokens(count: int) -> bytes:
    return array("tokenizer.ggml.tokens", STRING, [text(f"t{n}") for n in range(count)])


def nested(depth: int) -> bytes:
    inner = struct.pack("<IQ", U32, 1) + bytes(4)
    return pair("x.deep", ARRAY, struct.pack("<IQ", ARRAY, 1) * depth + inner)


def has(name: str, value: float, kind: int = U32) -> bytes:
    """One number of the llama family."""
    return llama(number(f"llama.{name}", value, kind))


# What the case is called: the file's bytes, and a piece of the refusal or READ.
CASES: dict[str, tuple[Case, str]] = {
    # The first bytes.
    "an empty file": (b"", "not a GGUF file"),
    "four bytes": (b"GGUF", "ends inside"),
    "a wrong magic": (llama(magic=b"GGML"), "not a GGUF file"),
    "the magic turned around": (llama(magic=b"FUGG"), "not a GGUF file"),
    "version 0": (llama(version=0), "version 0"),
    "version 1": (llama(version=1), "version 1"),
    "version 2": (llama(version=2), READ),
    "a version to come": (llama(version=4), "version 4"),
    "a version for big-endian machines": (llama(version=0x03000000), "big-endian"),
    "-1 tensors": (llama(counts=(HUGE, 1)), "do not fit"),
    "a huge number of tensors": (llama(counts=(2**62, 1)), "do not fit"),
    "more tensors than there are": (llama(counts=(2, 1)), "empty"),
    "more keys than there are": (llama(counts=(0, 2)), "empty"),
    "-1 keys": (llama(counts=(0, HUGE)), "do not fit"),
    "a huge number of keys": (llama(counts=(0, 2**61)), "do not fit"),
    "counts that overflow together": (llama(counts=(2**63, 2**63)), "do not fit"),
    "more keys than any model": (
        lambda: file_of([number(f"k{n}", n) for n in range(20_000)], []),
        "more than any model has",
    ),
    "more tensors than any model": (
        lambda: rows(
            *(tensor(f"t{n}", (1,), 0, 32 * n) for n in range(20_000)), data_bytes=640_000
        ),
        "more than any model has",
    ),
    # Keys and values.
    "a key that is too long": (llama(struct.pack("<Q", 65536) + bytes(65540)), "too long"),
    "a key of a huge length": (llama(struct.pack("<Q", HUGE) + b"abc"), "too long"),
    "an empty key": (key(U32, bytes(4), ""), "empty"),
    "a key with a zero inside": (key(U32, bytes(4), "general.alignment\0"), "zeros"),
    "the same key twice": (llama(ARCHITECTURE), "twice"),
    "a key that is not UTF-8": (llama(pair(b"\xc3\x28", U32, bytes(4))), "not UTF-8"),
    "a text that is not UTF-8": (key(STRING, text(b"\xff\xfe")), READ),
    "a type that does not exist": (key(13, bytes(8)), "unknown type 13"),
    "a huge type": (key(2**32 - 1, bytes(8)), "unknown type"),
    "a truth value of 2": (key(BOOL, b"\2"), "neither true nor false"),
    "truth values of 3": (llama(array("x.flags", BOOL, [b"\1"] * 9 + [b"\3"])), "neither true"),
    "truth values": (llama(array("x.flags", BOOL, [b"\1", b"\0"] * 9)), READ),
    "a text of nearly 2^64 bytes": (key(STRING, struct.pack("<Q", HUGE - 7) + b"a"), "ends inside"),
    "a text of 2^63 bytes": (key(STRING, struct.pack("<Q", 2**63) + b"a"), "ends inside"),
    "too long a text": (lambda: key(STRING, text(b"a" * (3 << 20))), "too much text"),
    "many long texts": (
        lambda: llama(*(pair(f"k{n}", STRING, text(b"\xff" * 900_000)) for n in range(9))),
        "too much text",
    ),
    "a tokenizer file that nobody reads": (
        lambda: key(STRING, text(b"{" * (9 << 20)), "tokenizer.huggingface.json"),
        READ,
    ),
    "an architecture that is a number": (
        file_of([number("general.architecture", 7)], []),
        "no name",
    ),
    "an architecture that is a book": (
        file_of([pair("general.architecture", STRING, text("a" * 9999))], []),
        "no name",
    ),
    # Arrays.
    "arrays in arrays": (llama(nested(3)), READ),
    "arrays nested without end": (llama(nested(5000)), "nested too deeply"),
    "a million empty arrays": (
        lambda: llama(pair("x.a", ARRAY, struct.pack("<IQ", ARRAY, 10**6) + bytes(12 * 10**6))),
        "too many",
    ),
    "arrays of thousands of arrays": (
        lambda: llama(
            pair(
                "x.a",
                ARRAY,
                struct.pack("<IQ", ARRAY, 60)
                + (struct.pack("<IQ", ARRAY, 2000) + bytes(24_000)) * 60,
            )
        ),
        "too many",
    ),
    "an array of a type that does not exist": (llama(array("x.a", 99, [])), "unknown type 99"),
    "an array of 2^64-1 numbers": (llama(array("x.a", U64, [], count=HUGE)), "ends inside"),
    "an array of 2^61 numbers, whose size is 0": (
        llama(array("x.a", U64, [], count=2**61)),
        "ends inside",
    ),
    "an array of 2^64-1 texts": (llama(array("x.a", STRING, [], count=HUGE)), "too many"),
    "an array of 2^64-1 arrays": (llama(array("x.a", ARRAY, [], count=HUGE)), "too many"),
    "three million empty texts": (
        lambda: llama(array("x.a", STRING, [bytes(8)] * 3_000_000)),
        "too many",
    ),
    "two million empty texts": (lambda: llama(array("x.a", STRING, [bytes(8)] * 2_000_000)), READ),
    "a header larger than any": (lambda: llama(array("x.a", U8, [bytes(41 << 20)])), READ),
    "a header that claims all of a large file": (
        lambda: llama(array("x.a", U8, [bytes(41 << 20)], count=41 << 20)),
        "the header is larger",
    ),
    # Alignment.
    "alignment 0": (llama(number("general.alignment", 0)), "power of two"),
    "alignment 1": (llama(number("general.alignment", 1)), "power of two"),
    "alignment 13": (llama(number("general.alignment", 13)), "power of two"),
    "alignment 2^31": (llama(number("general.alignment", 2**31)), "power of two"),
    "alignment 64": (llama(number("general.alignment", 64), alignment=64), READ),
    "an alignment of another type": (llama(number("general.alignment", 32, U64)), "right type"),
    "an alignment below zero": (llama(number("general.alignment", -32, I32)), "right type"),
    "a true alignment": (llama(pair("general.alignment", BOOL, b"\1")), "right type"),
    "an alignment in words": (llama(pair("general.alignment", STRING, text("32"))), "right type"),
    "an alignment the tensors do not keep": (
        llama(
            number("general.alignment", 64),
            tensors=[tensor("a", (8,)), tensor("b", (8,), 0, 32)],
            alignment=64,
        ),
        "not aligned to 64",
    ),
    # Tensors.
    "a tensor": (rows(tensor("a", (16,))), READ),
    "a tensor without dimensions": (rows(tensor("a", ())), READ),
    "a tensor's name of 63 bytes": (rows(tensor("a" * 63)), READ),
    "a tensor's name of 64 bytes": (rows(tensor("a" * 64)), "too long"),
    "a tensor's name of 2^63 bytes": (rows(struct.pack("<Q", 2**63) + bytes(40)), "too long"),
    "a tensor without a name": (rows(tensor("")), "empty"),
    "a tensor's name with a zero": (rows(tensor("a\0b")), "zeros"),
    "a tensor's name that is not UTF-8": (rows(tensor(b"\xfe\xff")), "not UTF-8"),
    "the same tensor twice": (
        rows(tensor("a", (8,)), tensor("a", (8,), 0, 32)),
        "twice",
    ),
    "five dimensions": (rows(tensor("a", (1, 1, 1, 1, 1))), "5 dimensions"),
    "2^32-1 dimensions": (
        rows(text("a") + struct.pack("<I", 2**32 - 1) + bytes(40)),
        "dimensions",
    ),
    "a dimension of 0": (rows(tensor("a", (4, 0))), "impossible shape"),
    "a dimension of -1": (rows(tensor("a", (HUGE,))), "impossible shape"),
    "a dimension of 2^63": (rows(tensor("a", (2**63,))), "impossible shape"),
    "a product of 2^64, which is 0": (rows(tensor("a", (2**32, 2**32))), "truncated"),
    "a product of 2^64 + 4": (rows(tensor("a", (2**62 + 1, 4))), "truncated"),
    "a size that overflows after the product": (rows(tensor("a", (2**61,))), "truncated"),
    "four dimensions of 2^62": (rows(tensor("a", (2**62,) * 4)), "truncated"),
    "a tensor's type that does not exist": (rows(tensor("a", kind=5)), "unknown type 5"),
    "a tensor's type of 2^32-1": (rows(tensor("a", kind=2**32 - 1)), "unknown type"),
    "a row that is no whole block": (rows(tensor("a", (33, 32), 2)), "whole number"),
    "a tensor that begins beyond the file": (rows(tensor("a", offset=64)), "truncated"),
    "a tensor's place of 2^64-32": (rows(tensor("a", offset=2**64 - 32)), "truncated"),
    "a tensor that ends beyond the file": (rows(tensor("a", (17,))), "truncated"),
    "a tensor that is not aligned": (rows(tensor("a", offset=4)), "not aligned"),
    "a tensor over another": (rows(tensor("a", (16,)), tensor("b", (4,), 0, 32)), "over another"),
    "two tensors in one place": (rows(tensor("a"), tensor("b")), "over another"),
    "tensors in another order": (rows(tensor("a", offset=32), tensor("b")), READ),
    "no data at all": (rows(tensor("a"), data_bytes=0), "truncated"),
    "one byte too few": (rows(tensor("a", (16,)), data_bytes=63), "truncated"),
    # What engines divide by, count with and make room for.
    "no blocks": (has("block_count", 0), "block_count.* is 0"),
    "2^32-1 blocks": (has("block_count", 2**32 - 1), "block_count"),
    "-1 blocks": (has("block_count", -1, I32), "block_count"),
    "blocks in words": (
        llama(pair("llama.block_count", STRING, text("4"))),
        "no whole number",
    ),
    "half a block": (has("block_count", 0.5, F32), "no whole number"),
    "true blocks": (llama(pair("llama.block_count", BOOL, b"\1")), "no whole number"),
    "more blocks than tensors": (
        llama(number("llama.block_count", 40), tensors=[tensor("a")]),
        "40 blocks of 1 tensors",
    ),
    "no heads": (has("attention.head_count", 0), "head_count.* is 0"),
    "2^63 heads": (has("attention.head_count", 2**63, U64), "head_count"),
    "-8 heads": (has("attention.head_count", -8, I64), "head_count"),
    "no heads in any block": (
        llama(array("llama.attention.head_count", U32, [0] * 30)),
        "head_count",
    ),
    "no heads in some blocks": (llama(array("llama.attention.head_count", U32, [0, 8] * 9)), READ),
    "-1 heads in one block": (
        llama(array("llama.attention.head_count", I32, [8] * 30 + [-1])),
        "head_count.* is -1",
    ),
    "heads for a million blocks": (
        lambda: llama(array("llama.attention.head_count", U32, [8] * 10**6)),
        "no whole number",
    ),
    "no heads in a model that remembers": (
        llama(
            number("llama.attention.head_count", 0),
            number("llama.ssm.conv_kernel", 4),
        ),
        READ,
    ),
    "no shared heads": (has("attention.head_count_kv", 0), "head_count_kv"),
    "nine heads that share four": (
        llama(
            number("llama.attention.head_count", 9),
            number("llama.attention.head_count_kv", 4),
        ),
        "9 heads cannot share 4",
    ),
    "heads without width": (has("attention.key_length", 0), "key_length"),
    "nothing to turn": (has("rope.dimension_count", 0), "dimension_count"),
    "a base of 0": (has("rope.freq_base", 0.0, F32), "base of the rotations"),
    "a base below zero": (has("rope.freq_base", -1.0, F32), "base of the rotations"),
    "a base that is no number": (has("rope.freq_base", math.nan, F32), "nan"),
    "an endless scale": (has("rope.scaling.factor", math.inf, F64), "inf"),
    "no room to think": (has("context_length", 0), "context_length"),
    "a context of 2^63": (has("context_length", 2**63, U64), "context_length"),
    "no width": (has("embedding_length", 0), "embedding_length"),
    "a width of 2^32-1": (has("embedding_length", 2**32 - 1), "embedding_length"),
    "more experts used than there are": (
        llama(number("llama.expert_count", 8), number("llama.expert_used_count", 9)),
        "9 of 8 experts",
    ),
    "experts of which none is used": (has("expert_count", 8), "0 of 8 experts"),
    "experts that do not make groups": (
        llama(
            number("llama.expert_count", 9),
            number("llama.expert_used_count", 2),
            number("llama.expert_group_count", 4),
        ),
        "4 groups",
    ),
    "a state without heads": (has("ssm.time_step_rank", 0), "time_step_rank"),
    "a memory without width": (has("wkv.head_size", 0), "head_size"),
    "patches of nothing": (has("vision.patch_size", 0), "patch_size"),
    "a merge of nothing": (has("vision.spatial_merge_size", 0), "spatial_merge_size"),
    "no heads that see": (has("vision.attention.head_count", 0), "vision.attention.head_count"),
    # Vocabulary.
    "a vocabulary and its embedding": (
        llama(tokens(8), tensors=[tensor("token_embd.weight", (4, 8))], data_bytes=128),
        READ,
    ),
    "a vocabulary larger than its embedding": (
        llama(tokens(9), tensors=[tensor("token_embd.weight", (4, 8))], data_bytes=128),
        "9 tokens do not fit",
    ),
    "a vocabulary smaller than its embedding": (
        llama(tokens(7), tensors=[tensor("token_embd.weight", (4, 8))], data_bytes=128),
        "7 tokens do not fit",
    ),
    "an embedding of one row": (
        llama(tokens(8), tensors=[tensor("token_embd.weight", (8,))]),
        "8 tokens do not fit",
    ),
    "no tokens": (llama(tokens(0)), "vocabulary is empty"),
    "a vocabulary of numbers": (
        llama(array("tokenizer.ggml.tokens", U32, [1] * 9)),
        "not a list of texts",
    ),
    "a vocabulary that is one text": (
        llama(pair("tokenizer.ggml.tokens", STRING, text("t"))),
        "not a list",
    ),
    "fewer scores than tokens": (
        llama(tokens(9), array("tokenizer.ggml.scores", F32, [0.0] * 8)),
        "8 entries for 9 tokens",
    ),
    "scores of another type": (
        llama(tokens(9), array("tokenizer.ggml.scores", U8, [0] * 9)),
        "wrong type",
    ),
    "fewer token types than tokens": (
        llama(tokens(9), array("tokenizer.ggml.token_type", I32, [1] * 2)),
        "2 entries for 9 tokens",
    ),
    "token types that are too narrow": (
        llama(tokens(9), array("tokenizer.ggml.token_type", U8, [1] * 9)),
        "wrong type",
    ),
}


def read(path: Path) -> str:
    """Everything that is read of a file before an engine sees it; gives the verdict."""
    try:
        facts_of(read_header(path))
    except InvalidModel as why:
        return why.message
    return READ


@pytest.mark.parametrize("case", CASES)
def test_a_malformed_file_gets_its_verdict_within_the_bounds(case: str, tmp_path: Path) -> None:
    data, expected = CASES[case]
    path = tmp_path / "model.gguf"
    path.write_bytes(data() if callable(data) else data)
    verdicts: list[str] = []
    within_bounds(lambda: verdicts.append(read(path)))
    assert re.search(expected, verdicts[0]), verdicts[0]


def test_a_vocabulary_made_to_be_searched_for_long_is_given_up_on(tmp_path: Path) -> None:
    """Every piece of every token looks like the token that is searched for."""
    wanted = text("<|fim_prefix|>")
    path = tmp_path / "model.gguf"
    values = [text("") for _ in range(2047)] + [text(wanted * 400_000)]
    path.write_bytes(llama(array("tokenizer.ggml.tokens", STRING, values)))
    within_bounds(lambda: read(path))


def test_thousands_of_arrays_in_one_with_the_longest_key_stay_within_the_bounds(
    tmp_path: Path,
) -> None:
    path = tmp_path / "model.gguf"
    inner = struct.pack("<IQ", U32, 0) * 65_000
    path.write_bytes(llama(pair("k" * 65_535, ARRAY, struct.pack("<IQ", ARRAY, 65_000) + inner)))
    verdicts: list[str] = []
    within_bounds(lambda: verdicts.append(read(path)))
    assert verdicts == [READ]


def test_the_largest_header_there_may_be_stays_within_the_bounds(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    keys = [number(f"some.rather.long.key.{n}", n) for n in range(16_000)]
    keys.append(pair("x.text", STRING, text("\U0001f600" + "a" * 1_500_000)))
    keys.append(array("x.texts", STRING, [bytes(8)] * 2_000_000))
    keys.append(array("x.bytes", U8, [bytes(20 << 20)], count=20 << 20))
    tensors = [tensor(f"{n}".rjust(63, "t"), (1, 1, 1, 1), 0, 32 * n) for n in range(16_000)]
    path.write_bytes(llama(*keys, tensors=tensors, data_bytes=32 * 16_000))
    verdicts: list[str] = []
    within_bounds(lambda: verdicts.append(read(path)))
    assert verdicts[0] == READ


def cut_everywhere(path: Path, longest: int) -> list[int]:
    """Lengths below `longest` at which the file is not refused."""
    read_at = []
    for length in range(longest - 1, -1, -1):
        os.truncate(path, length)
        if read(path) == READ:
            read_at.append(length)
    return read_at


def test_a_small_model_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    path = tiny_gguf(tmp_path / "cut.gguf")
    rows = gguf.GGUFReader(path).tensors
    end = max(int(row.data_offset + row.n_bytes) for row in rows)
    del rows
    os.truncate(path, end)
    assert read(path) == READ
    assert cut_everywhere(path, end) == []


def test_a_real_model_cut_off_in_its_first_4096_bytes_is_refused(
    tmp_path: Path, smollm2_path: Path
) -> None:
    path = tmp_path / "cut.gguf"
    with smollm2_path.open("rb") as file:
        path.write_bytes(file.read(4096))
    within_bounds(lambda: read(path))
    assert cut_everywhere(path, 4097) == []


def test_a_tensor_of_a_real_file_moved_or_grown_is_refused(tmp_path: Path) -> None:
    whole = bytearray(tiny_gguf(tmp_path / "whole.gguf").read_bytes())
    place = whole.index(b"token_embd.weight") + 17 + 4
    path = tmp_path / "changed.gguf"
    for at, value in ((0, 64), (8, 11), (8, 2**60), (20, 2**40), (20, 4)):
        changed = bytearray(whole)
        struct.pack_into("<Q", changed, place + at, value)
        path.write_bytes(changed)
        with pytest.raises(InvalidModel):
            read_header(path)


def test_a_pipe_and_a_device_are_no_model_files(tmp_path: Path) -> None:
    if os.name == "nt":
        pytest.skip("no pipes with names here")
    os.mkfifo(tmp_path / "pipe.gguf")
    for path in (tmp_path / "pipe.gguf", Path("/dev/zero"), Path("/dev/random")):
        assert "not a plain file" in read(path)
