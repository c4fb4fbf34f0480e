"""The header of a GGUF file, and what is derived from it."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from dimora.core.errors import InvalidModel
from dimora.models.formats.facts import facts_of
from dimora.models.formats.gguf import read_opened
from tests.unit.models.formats.test_malformed_gguf import CASES
from tests.unit.models.making import tiny_gguf

REFUSAL = InvalidModel


def seeds() -> list[bytes]:
    with tempfile.TemporaryDirectory() as scratch:
        whole = tiny_gguf(Path(scratch) / "a.gguf", file_type=2).read_bytes()
    return [whole, *(data for data, _ in CASES.values() if isinstance(data, bytes))]


def read(data: bytes) -> None:
    header = read_opened(io.BytesIO(data))
    facts_of(header)
    for tensor in header.tensors:
        if not 0 <= tensor.offset <= tensor.offset + tensor.size_bytes <= len(data):
            raise AssertionError("a tensor lies outside of the file")
