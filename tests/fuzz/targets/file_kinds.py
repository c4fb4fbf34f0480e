"""What a file is, by its bytes."""

from __future__ import annotations

import io
from pathlib import Path

from dimora.core.errors import InvalidModel
from dimora.models.formats.file_kinds import kind_of_opened
from tests.unit.models.formats.test_file_kinds import HARMLESS, harmful

REFUSAL = InvalidModel


def seeds() -> list[bytes]:
    return [*HARMLESS.values(), *(data for _, data in harmful(Path("x")).values())]


def read(data: bytes) -> None:
    kind_of_opened(io.BytesIO(data))
