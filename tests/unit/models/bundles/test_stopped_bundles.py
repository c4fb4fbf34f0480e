"""Large bundles, and imports that stop half-way."""

from __future__ import annotations

import asyncio
import json
import os
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from dimora.core.errors import (
    StorageFull,
)
from dimora.core.types import Progress
from dimora.models.bundles import reading as bundle_import
from dimora.models.store import ModelStore
from tests.unit.models.bundles.bundling import (
    LIBRARY,
    assert_untouched,
    export,
    files_in,
    store_at,
    take_in,
    trusting,
)
from tests.unit.models.making import OllamaStore, tiny_gguf


def test_neither_way_holds_more_than_some_megabytes_in_memory(tmp_path: Path) -> None:
    """A document of 96 MB, as no model of the tests is that large."""
    written = OllamaStore(tmp_path / "ours" / "models")
    weights = tiny_gguf(tmp_path / "tiny.gguf").read_bytes()
    path = written.model((*LIBRARY, "big", "latest"), [("model", weights)])
    manifest = json.loads(path.read_text())
    document = {"mediaType": "application/vnd.dimora.image.document", "name": "a"}
    manifest["layers"].append(document | written.blob(os.urandom(1 << 20) * 96))
    path.write_text(json.dumps(manifest))
    ours, bundle = store_at(tmp_path / "ours"), tmp_path / "big"
    # Once before, so that what is imported does not count.
    written.model((*LIBRARY, "small", "latest"), [("model", weights)])
    export(ours, ["small"], tmp_path / "small")
    take_in(trusting(ours, tmp_path / "theirs"), tmp_path / "small")
    tracemalloc.start()
    steps = export(ours, ["big"], bundle)
    take_in(trusting(ours, tmp_path / "theirs"), bundle)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
    counts = [s.completed_bytes for s in steps if s.status == "exporting"]
    assert len(counts) > 5
    assert counts == sorted(counts)
    assert (
        counts[-1] == bundle.stat().st_size == next(s.total_bytes for s in steps if s.total_bytes)
    )


def test_an_import_that_ended_goes_on_where_it_was(
    ours: ModelStore, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = trusting(ours, tmp_path / "theirs")
    brought: list[str] = []
    take = bundle_import.BundleImport._take

    def fail_at_the_third(self: Any, digest: str, size: int, reader: Any) -> Any:
        brought.append(digest)
        if len(brought) == 3:
            raise StorageFull("no room")
        yield from take(self, digest, size, reader)

    monkeypatch.setattr(bundle_import.BundleImport, "_take", fail_at_the_third)
    with pytest.raises(StorageFull):
        take_in(other, bundle)
    assert other.all() == []
    assert len(list(other.blobs.directory.iterdir())) == 2
    begun = list(brought)
    take_in(other, bundle)
    assert brought[3:] == [begun[2], *(d for d in brought[4:] if d not in begun)]
    assert len(other.all()) == 2


def test_an_import_that_is_cancelled_leaves_no_unfinished_file(
    ours: ModelStore, bundle: Path, tmp_path: Path
) -> None:
    other = trusting(ours, tmp_path / "theirs")

    async def run() -> None:
        steps = other.import_bundle(bundle)
        async for step in steps:
            if isinstance(step, Progress) and step.status == "importing":
                break
        await steps.aclose()

    asyncio.run(run())
    assert other.all() == []
    assert not [f for f in files_in(other) if "tmp-" in f]
    assert len(take_in(other, bundle)) == 2


def test_room_is_looked_for_before_anything_is_written(
    ours: ModelStore, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 8, 1))  # type: ignore[attr-defined]
    other = trusting(ours, tmp_path / "theirs")
    with pytest.raises(StorageFull):
        take_in(other, bundle)
    assert_untouched(other)
    with pytest.raises(StorageFull):
        export(ours, ["tiny"], tmp_path / "b")
    assert not list(tmp_path.glob("*b*.dimora-part"))


def test_a_sweep_leaves_what_came_of_an_import_that_takes_days(
    ours: ModelStore, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = trusting(ours, tmp_path / "theirs")
    here = other.blobs.put(b"Be kind.")
    assert ours.blobs.size_of(here), "one of them lies here already"
    then = time.time() - 7200
    take = bundle_import.BundleImport._take

    def slowly(self: Any, digest: str, size: int, reader: Any) -> Any:
        for path in other.blobs.directory.iterdir():
            os.utime(path, (then, then))
        yield from take(self, digest, size, reader)
        other.sweep()

    monkeypatch.setattr(bundle_import, "_STEP_BYTES", 1)
    monkeypatch.setattr(bundle_import.BundleImport, "_take", slowly)
    assert len(take_in(other, bundle)) == 2
    for name in ("tiny", "registry.example:5000/me/other:q4"):
        other.verified_files(other.find(name))
