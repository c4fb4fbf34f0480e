"""Pulls from a registry on the loopback, for tests."""

from __future__ import annotations

import os
import time
from pathlib import Path

from dimora.core.types import Progress
from dimora.models.remote.access import SourceAccess
from dimora.models.store import ModelStore
from tests.faults.site import Site

SECRET = "geheim-und-lang"
NAME = "team/tiny:latest"


def store_for(root: Path, *sites: Site, **how: object) -> ModelStore:
    keys = tuple(one.key for one in sites)
    return ModelStore(root / "models", access=SourceAccess(registries=keys, **how))  # type: ignore[arg-type]


async def pull(store: ModelStore, here: Site, name: str = NAME, **how: bool) -> list[Progress]:
    return [step async for step in store.pull(f"{here.key}/{name}", **how)]


def assert_whole(store: ModelStore, here: Site, weights: Path, name: str = NAME) -> None:
    """The model is there, right, and nothing else is."""
    model = store.find(f"{here.key}/{name}")
    assert Path(store.verified_files(model).weights).read_bytes() == weights.read_bytes()
    digests = store.manifests.read(store.locate(f"{here.key}/{name}")).manifest.digests
    assert files_in(store) == sorted(digest.replace(":", "-") for digest in digests)


def assert_nothing_shown(store: ModelStore) -> None:
    assert store.all() == []
    # What is on its way, and a note of it that a kill left half written.
    on_its_way = ("sha256-", ".sha256-")
    assert [name for name in files_in(store) if not name.startswith(on_its_way)] == []


def files_in(store: ModelStore) -> list[str]:
    return sorted(path.name for path in store.blobs.directory.glob("*"))


async def pull_slowly(store: ModelStore, name: str) -> None:
    """A pull each of whose steps takes two hours, and is followed by a sweep."""
    then = time.time() - 7200
    async for step in store.pull(name):
        if step.digest:
            store.sweep()
            for path in store.blobs.directory.glob("sha256-*"):
                os.utime(path, (then, then))
