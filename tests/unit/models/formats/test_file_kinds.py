"""What a file is, is told by its bytes; what could run code is refused under any name."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import pickle
import re
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimora.core.errors import InvalidModel
from dimora.models.formats.file_kinds import (
    kind_of,
    looks_pickled,
    require_harmless,
    require_weights,
)
from dimora.models.store import ModelStore
from dimora.tasks.recipe import Recipe
from tests.unit.models.making import tiny_gguf


class Deed:
    """Makes a directory when it is unpickled, so that it would be seen."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._place),)


def zipped(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, data)
    return buffer.getvalue()


def tarred(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("data.pkl")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def safetensors(header: dict[str, Any], data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


ONE = {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
# The number with which PyTorch began its files before they were zip archives.
OLD_TORCH = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + pickle.dumps(1001, protocol=2)
HARMLESS = {
    "safetensors": safetensors(ONE, bytes(4)),
    "onnx": b"\x08\x08\x12\x07pytorch\x1a\x052.4.0:\x10" + bytes(40),
    "json": b'\xef\xbb\xbf {"model_type": "llama"}',
    "xml": b'<?xml version="1.0"?><net name="Model0" version="11">',
    "text": "Licenza: à è ì".encode() * 500,
    "empty": b"",
    "unknown": bytes(range(200, 256)) * 9,
}


def harmful(place: Path) -> dict[str, tuple[str, bytes]]:
    deed = Deed(place)
    pickles = {
        f"a pickle of protocol {n}": ("pickle", pickle.dumps(deed, protocol=n)) for n in range(6)
    }
    data = {
        f"data pickled by protocol {n}": ("pickle", pickle.dumps({"a": [1.5, b"x" * 9999]}, n))
        for n in range(2, 6)
    }
    return {
        **pickles,
        **data,
        "an old checkpoint": ("pickle", OLD_TORCH),
        "a call written by hand": ("pickle", b"cos\nsystem\n(S'true'\ntR."),
        "an instance written by hand": ("pickle", b"(S'true'\nios\nsystem\n."),
        "a checkpoint": ("zip", zipped("archive/data.pkl", pickle.dumps(deed))),
        "an archive behind something else": ("zip", b"\xff" * 99 + zipped("a", b"b")),
        "an empty archive": ("zip", b"PK\x05\x06" + bytes(18)),
        "a tar archive": ("tar", tarred(pickle.dumps(deed))),
        "a compressed pickle": ("compressed", gzip.compress(pickle.dumps(deed))),
        "a program": ("program", b"\x7fELF\x02\x01\x01"),
        "a script": ("program", b"#!/bin/sh\n"),
    }


NAMES = ("model.gguf", "model.safetensors", "pytorch_model.bin", "config.json", "model.onnx", "x")


@pytest.mark.parametrize("case", harmful(Path("x")))
@pytest.mark.parametrize("name", NAMES)
def test_what_could_run_code_is_refused_under_any_name(
    case: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, data = harmful(tmp_path / "done")[case]
    (tmp_path / name).write_bytes(data)
    with monkeypatch.context() as patch:
        for unpickle in ("load", "loads", "Unpickler", "_Unpickler"):
            patch.setattr(pickle, unpickle, None)
        assert kind_of(tmp_path / name) == kind
        for require in (require_weights, require_harmless):
            with pytest.raises(InvalidModel) as caught:
                require(tmp_path / name)
            assert name in caught.value.message and str(tmp_path) not in caught.value.text
            assert "safetensors" in caught.value.hint
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize("kind", HARMLESS)
def test_other_files_are_told_apart_and_only_weights_are_weights(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(HARMLESS[kind])
    assert kind_of(path) == kind
    assert require_harmless(path) == kind
    if kind == "safetensors":
        assert require_weights(path) == "safetensors"
    else:
        with pytest.raises(InvalidModel, match="not a model's weights"):
            require_weights(path)


def test_a_gguf_file_is_one_under_any_name(tmp_path: Path) -> None:
    path = tiny_gguf(tmp_path / "pytorch_model.pkl")
    assert kind_of(path) == require_weights(path) == "gguf"


def test_safetensors_whose_length_begins_like_a_pickle_are_no_pickle(tmp_path: Path) -> None:
    text = json.dumps(ONE).encode().ljust(0x280)
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    assert path.read_bytes()[:2] == b"\x80\x02"
    assert kind_of(path) == "safetensors"


@pytest.mark.parametrize(
    "text",
    ["0. Definitions", "1.0", "(c) 2026", "copyright\n\nAll of it.\n", "int main()", "]", "}."],
)
def test_ordinary_text_is_no_pickle(text: str) -> None:
    assert not looks_pickled(text.encode())


@given(st.binary(max_size=300))
def test_any_bytes_are_of_some_kind(data: bytes) -> None:
    looks_pickled(data)
    looks_pickled(b"\x80\x04\x95" + data)


@given(st.recursive(st.integers() | st.text() | st.none(), st.lists), st.integers(2, 5))
def test_every_pickle_is_known(value: object, protocol: int) -> None:
    assert looks_pickled(pickle.dumps(value, protocol)[:4096])


@pytest.mark.parametrize("case", ["a checkpoint", "a pickle of protocol 4", "a script"])
def test_the_store_takes_no_renamed_pickle(case: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(harmful(tmp_path / "done")[case][1])
    store = ModelStore(tmp_path / "models")
    for attempt in (lambda: store.find_file(path), lambda: store.import_file(path, "m")):
        with pytest.raises(InvalidModel, match=r"model\.gguf"):
            attempt()
    assert not (tmp_path / "done").exists()
    assert not list(tmp_path.glob("models/blobs/*"))


@pytest.mark.parametrize("case", ["a checkpoint", "a pickle of protocol 2", "a program"])
@pytest.mark.parametrize("names", [("m.xml", "m.bin"), ("genai_config.json", "tokenizer.model")])
def test_no_model_is_made_of_a_folder_with_a_renamed_pickle(
    case: str, names: tuple[str, str], tmp_path: Path
) -> None:
    store = ModelStore(tmp_path / "models")
    plain, hidden = names
    files = {
        plain: store.blobs.put(HARMLESS["xml" if plain.endswith("xml") else "json"]),
        hidden: store.blobs.put(harmful(tmp_path / "done")[case][1]),
    }

    async def make() -> None:
        async for _ in store.create("m", Recipe(files=files), []):
            pass

    with pytest.raises(InvalidModel, match=re.escape(hidden)):
        asyncio.run(make())
    assert store.all() == []
