"""Safetensors of a hub on their way to a GGUF: what of them is kept, and for how long."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from dimora.core.types import Progress
from dimora.models.remote import hub_conversion
from dimora.models.store import ModelStore
from dimora.models.taking import Taken


async def test_a_sweep_leaves_the_weights_and_what_was_made_while_a_conversion_takes_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ModelStore(tmp_path / "models", cache_path=tmp_path / "cache")
    weights = store.blobs.put(b"weights")

    def making(data: bytes) -> Any:
        async def make(*_: object) -> AsyncGenerator[Progress | Taken, None]:
            yield Progress(status="begun")
            yield Progress(status="going on")
            yield Taken(digest=store.blobs.put(data), size_bytes=len(data))

        return make

    monkeypatch.setattr(hub_conversion, "convert_folder", making(b"converted"))
    monkeypatch.setattr(hub_conversion, "quantize", making(b"quantized"))
    plan = hub_conversion.Plan(store, "Q8_0", "ada/tiny")
    then = time.time() - 7200
    kept: list[int] = []
    steps: list[Progress | Taken] = []
    async for step in plan.convert({"model.safetensors": weights}, {weights}):
        steps.append(step)
        store.sweep()
        kept.append(len(list(store.blobs.directory.iterdir())))
        for path in store.blobs.directory.iterdir():
            os.utime(path, (then, then))
    assert isinstance(steps[-1], Taken)
    assert kept[:4] == [1, 1, 2, 2]
