"""Time and ids stand still, so that bytes can be compared."""

from __future__ import annotations

import pytest

from dimora.dialects import _writing
from dimora.dialects.openai import words

NANOSECONDS = 1_785_833_539_385_406_455


@pytest.fixture(autouse=True)
def frozen_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_writing, "read_clock", lambda: NANOSECONDS)
    monkeypatch.setattr(words, "make_id", lambda: "0123456789abcdef01234567")
