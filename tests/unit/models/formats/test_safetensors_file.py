"""The header of a safetensors file is read whole or refused by name, whatever is in the file."""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dimora.core.errors import InvalidModel
from dimora.models.formats.safetensors_file import TENSORS_LIMIT, Header, read_header
from tests.bounds import within_bounds

READ = "it is read"
# Large files are made when they are needed.
Case = bytes | Callable[[], bytes]


def entry(dtype: str = "F32", shape: Any = (2,), begin: Any = 0, end: Any = 8, **more: Any) -> Any:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end], **more}


def file_of(header: Any, data_bytes: int = 8, *, length: int | None = None) -> bytes:
    """`header` as it is when it is bytes; `length` is what the file claims of it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(data_bytes)


def only(**changes: Any) -> bytes:
    return file_of({"a": entry(**changes)})


def many(count: int) -> bytes:
    rows = {f"layer.{n}.weight": entry(begin=8 * n, end=8 * n + 8) for n in range(count)}
    return file_of(rows, 8 * count)


PLAIN = json.dumps(entry())

CASES: dict[str, tuple[Case, str]] = {
    "one tensor": (only(), READ),
    "no tensor": (file_of({}, 0), READ),
    "spaces after the header": (file_of(json.dumps({"a": entry()}).encode() + b" " * 9), READ),
    "spaces before the header": (file_of(b" " + json.dumps({"a": entry()}).encode()), "object"),
    "metadata": (file_of({"__metadata__": {"format": "pt"}, "a": entry()}), READ),
    "an empty tensor": (file_of({"a": entry(shape=[0, 5], end=0), "b": entry()}), READ),
    "a tensor without dimensions": (only(dtype="F64", shape=[]), READ),
    "an empty file": (b"", "too short"),
    "eight bytes": (bytes(8), "too short"),
    "a length of 0": (file_of(b"", 8), "object"),
    "a length beyond the file": (file_of({}, 8, length=11), "truncated"),
    "a length of 2^64-1": (file_of({}, 8, length=2**64 - 1), "truncated"),
    "a length of 2^63": (file_of({}, 8, length=2**63), "truncated"),
    "a header of 25 MiB": (lambda: file_of(b"{" + b" " * (25 << 20) + b"}", 0), "larger than"),
    "a list": (file_of(b"[]", 0), "object"),
    "a text": (file_of(b'"{}"', 0), "object"),
    "no end": (file_of(b'{"a":' + PLAIN.encode()), "broken"),
    "two objects": (file_of(b'{"a":' + PLAIN.encode() + b"}{}"), "after the header"),
    "a comma too many": (file_of(b'{"a":' + PLAIN.encode() + b",}"), "broken"),
    "no comma": (file_of(b'{"a":' + PLAIN.encode() + b'"b":' + PLAIN.encode() + b"}"), "broken"),
    "a name without quotes": (file_of(b"{a:" + PLAIN.encode() + b"}"), "broken"),
    "a name that is not UTF-8": (file_of(b'{"\xff":' + PLAIN.encode() + b"}"), "broken"),
    "half a character": (file_of(b'{"\\ud800":' + PLAIN.encode() + b"}"), "broken"),
    "a name of 5000 bytes": (file_of({"a" * 5000: entry()}), "too long"),
    "the same tensor twice": (
        file_of(f'{{"a":{PLAIN},"a":{PLAIN}}}'.encode()),
        "'a' is there twice",
    ),
    "the same tensor twice, spelled in two ways": (
        file_of(f'{{"a":{PLAIN},"\\u0061":{PLAIN}}}'.encode()),
        "'a' is there twice",
    ),
    "metadata twice": (file_of(b'{"__metadata__":{},"__metadata__":{}}', 0), "twice"),
    "the same metadata twice": (file_of(b'{"__metadata__":{"k":"v","k":"w"}}', 0), "twice"),
    "metadata that is a number": (file_of({"__metadata__": {"k": 1}}, 0), "not a text"),
    "metadata that is an object": (file_of({"__metadata__": {"k": {}}}, 0), "not a text"),
    "metadata that is a list": (file_of({"__metadata__": []}, 0), "not a JSON object"),
    "metadata without end": (file_of(b'{"__metadata__":{"k":"v"', 0), "broken"),
    "metadata of 3 MiB": (
        lambda: file_of({"__metadata__": {"k": "v" * (3 << 20)}}, 0),
        "larger than",
    ),
    "a tensor that is a number": (file_of({"a": 1}), "not the description"),
    "a tensor that is nothing": (file_of({"a": None}), "not the description"),
    "a tensor in a tensor": (file_of({"a": {"b": entry()}}), "not the description"),
    "a tensor without a type": (file_of({"a": {"shape": [2], "data_offsets": [0, 8]}}), "wrongly"),
    "a tensor without places": (file_of({"a": {"shape": [2], "dtype": "F32"}}), "wrongly"),
    "a tensor that says more": (only(pickle="yes"), "wrongly"),
    "two types": (
        file_of(b'{"a":{"dtype":"F16","dtype":"F32","shape":[2],"data_offsets":[0,8]}}'),
        "described twice",
    ),
    "a type that does not exist": (only(dtype="F33"), "unknown type"),
    "a type in small letters": (only(dtype="f32"), "unknown type"),
    "a type that is a number": (only(dtype=1), "wrongly"),
    "a negative dimension": (only(shape=[-2]), "impossible shape"),
    "two negative dimensions": (only(shape=[-1, -2]), "impossible shape"),
    "half a dimension": (only(shape=[2.5]), "wrongly"),
    "a dimension in words": (only(shape=["2"]), "wrongly"),
    "a true dimension": (only(shape=[True]), "wrongly"),
    "a dimension of 2^63": (only(shape=[2**63]), "impossible shape"),
    "a dimension of a thousand digits": (only(shape=[10**999]), "description|wrongly|impossible"),
    "a product of 2^64": (only(shape=[2**32, 2**32]), "does not fill"),
    "a product of 2^64+2": (only(shape=[2**62 + 1, 4, 2]), "does not fill"),
    "nine dimensions": (only(shape=[2, *[1] * 8]), "9 dimensions"),
    "a shape of a thousand numbers": (only(shape=[1] * 1000), "not the description"),
    "fewer bytes than the shape": (only(shape=[3]), "does not fill"),
    "more bytes than the shape": (only(shape=[1]), "does not fill"),
    "half a byte": (only(dtype="F4", shape=[3], end=2), "does not fill"),
    "four bits each": (only(dtype="F4", shape=[16]), READ),
    "places turned around": (only(begin=8, end=0), "does not fill"),
    "a negative place": (only(begin=-8, end=0), "does not fill"),
    "one place": (file_of({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8]}}), "wrongly"),
    "three places": (
        file_of({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8, 8]}}),
        "wrongly",
    ),
    "a place of 2^64": (only(begin=2**64 - 8, end=2**64), "wrongly|comes after a hole"),
    "an end beyond the file": (only(shape=[3], end=12), "truncated"),
    "a hole before": (only(begin=4, end=12), "hole"),
    "a hole between": (
        file_of({"a": entry(), "b": entry(begin=12, end=20)}, 20),
        "'b' comes after a hole",
    ),
    "a hole at the end": (file_of({"a": entry()}, 9), "1 bytes at its end"),
    "two in one place": (file_of({"a": entry(), "b": entry()}, 16), "over another"),
    "one over another": (file_of({"a": entry(), "b": entry(begin=4, end=12)}, 12), "over another"),
    "another order": (file_of({"a": entry(begin=8, end=16), "b": entry()}, 16), READ),
    "nested without end": (lambda: file_of(b'{"a":' + b"[" * 100_000, 0), "not the description"),
    "nested objects without end": (lambda: file_of(b'{"a":' * 100_000, 0), "not the description"),
    "a list of millions": (
        lambda: file_of(b'{"a":[' + b"[]," * 4_000_000, 0),
        "not the description",
    ),
    "a text without end": (lambda: file_of(b'{"' + b"\\" * (20 << 20), 0), "broken"),
    "millions of names": (
        lambda: file_of(b"{" + b",".join(b'"%d":0' % n for n in range(10**6)) + b"}", 0),
        "not the description",
    ),
    "millions of metadata": (
        lambda: file_of(
            b'{"__metadata__":{' + b",".join(b'"%d":""' % n for n in range(10**6)) + b"}}",
            0,
        ),
        "larger than",
    ),
    "as many tensors as there may be": (lambda: many(TENSORS_LIMIT), READ),
    "more tensors than there may be": (lambda: many(TENSORS_LIMIT + 1), "more than"),
}


def read(path: Path) -> str:
    try:
        read_header(path)
    except InvalidModel as why:
        return why.message
    return READ


@pytest.mark.parametrize("case", CASES)
def test_a_malformed_file_gets_its_verdict_within_the_bounds(case: str, tmp_path: Path) -> None:
    data, expected = CASES[case]
    path = tmp_path / "model.safetensors"
    path.write_bytes(data() if callable(data) else data)
    verdicts: list[str] = []
    within_bounds(lambda: verdicts.append(read(path)))
    assert re.search(expected, verdicts[0]), verdicts[0]
    assert verdicts[0] == READ or verdicts[0].startswith("safetensors: ")


def real(path: Path) -> Path:
    """A file written by the safetensors package."""
    save = pytest.importorskip("safetensors.numpy").save_file
    tensors = {
        "model.embed_tokens.weight": np.ones((10, 32), dtype=np.float16),
        "model.layers.0.self_attn.q_proj.weight": np.zeros((4, 4), dtype=np.float32),
        "ids": np.arange(7, dtype=np.int64),
        "one": np.array(1.5),
    }
    save(tensors, path, metadata={"format": "np", "à": "\U0001f600 “è”"})
    return path


def test_a_file_written_by_the_safetensors_package_is_read_whole(tmp_path: Path) -> None:
    path = real(tmp_path / "a.safetensors")
    header: Header = read_header(path)
    assert header.metadata == {"format": "np", "à": "\U0001f600 “è”"}
    rows = {row.name: row for row in header.tensors}
    embedding = rows["model.embed_tokens.weight"]
    assert (embedding.type, embedding.shape, embedding.size_bytes) == ("F16", (10, 32), 640)
    assert embedding.elements == 320
    assert rows["one"].shape == () and rows["one"].elements == 1
    data = path.read_bytes()
    begin = header.data_begin + rows["ids"].begin
    assert data[begin : begin + 56] == np.arange(7, dtype=np.int64).tobytes()
    assert header.file_bytes == len(data)


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    path = real(tmp_path / "a.safetensors")
    for length in range(path.stat().st_size - 1, -1, -1):
        os.truncate(path, length)
        assert read(path) != READ, length
