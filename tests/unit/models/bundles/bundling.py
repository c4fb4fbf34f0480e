"""Stores for tests of bundles, and what is done with them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from dimora.core.types import Progress
from dimora.models.store import ModelStore
from dimora.tasks.keeping import BundledModel

LIBRARY = ("registry.ollama.ai", "library")
HOST = ("registry.example:5000", "me", "other", "q4")


def store_at(home: Path, *trusted: str) -> ModelStore:
    return ModelStore(
        home / "models", cache_path=home / "cache", keys_path=home / "keys", trusted_keys=trusted
    )


def export(store: ModelStore, names: list[str], path: Path, **more: Any) -> list[Progress]:
    async def run() -> list[Progress]:
        return [step async for step in store.export_bundle(names, path, **more)]

    return asyncio.run(run())


def take_in(store: ModelStore, path: Path, **more: Any) -> dict[str, str]:
    """Import a bundle; gives what each model was before."""

    async def run() -> list[Any]:
        return [step async for step in store.import_bundle(path, **more)]

    return {step.name: step.state for step in asyncio.run(run()) if isinstance(step, BundledModel)}


def trusting(ours: ModelStore, home: Path) -> ModelStore:
    return store_at(home, ours.bundle_key().public_key)


def files_in(store: ModelStore) -> list[str]:
    return sorted(str(p.relative_to(store.root)) for p in store.root.rglob("*") if p.is_file())


def assert_untouched(store: ModelStore) -> None:
    """No model, and not one file of a model."""
    assert [f for f in files_in(store) if f != ".dimora.lock"] == []


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
