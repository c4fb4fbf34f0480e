"""The header of a safetensors file."""

from __future__ import annotations

import io

from dimora.core.errors import InvalidModel
from dimora.models.formats.safetensors_file import read_opened
from tests.unit.models.formats.test_safetensors_file import CASES

REFUSAL = InvalidModel


def seeds() -> list[bytes]:
    return [data for data, _ in CASES.values() if isinstance(data, bytes)]


def read(data: bytes) -> None:
    header = read_opened(io.BytesIO(data))
    if header.data_begin + sum(tensor.size_bytes for tensor in header.tensors) != len(data):
        raise AssertionError("the tensors do not cover the file")
