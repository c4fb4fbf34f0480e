"""Verifying a store: every manifest, every byte, and what only looks like a model."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from dimora.core.errors import InvalidModel, NotFound
from dimora.core.types import Progress
from dimora.models import verifying
from dimora.models.store import ModelStore
from dimora.tasks.keeping import Fault, StoreTold
from tests.unit.models.making import OllamaStore, digest_of, tiny_adapter, tiny_gguf

LIBRARY = ("registry.ollama.ai", "library")
TINY, OTHER = (*LIBRARY, "tiny", "latest"), (*LIBRARY, "other", "1b")


@pytest.fixture
def weights(tmp_path: Path) -> bytes:
    return tiny_gguf(tmp_path / "tiny.gguf").read_bytes()


@pytest.fixture
def ollama(tmp_path: Path, weights: bytes) -> OllamaStore:
    """Two models that share their weights."""
    store = OllamaStore(tmp_path / "models")
    store.model(
        TINY,
        [
            ("model", weights),
            ("template", b"{{ .Prompt }}"),
            ("params", b'{"temperature": 0.5}'),
            ("messages", b'[{"role":"user","content":"hi"}]'),
        ],
    )
    store.model(OTHER, [("model", weights), ("system", b"Be kind.")])
    return store


@pytest.fixture
def store(ollama: OllamaStore, tmp_path: Path) -> ModelStore:
    return ModelStore(ollama.root, cache_path=tmp_path / "cache")


def verify(store: ModelStore, *names: str, **more: Any) -> tuple[list[Fault], StoreTold]:
    faults, told, _ = all_steps(store, *names, **more)
    return faults, told


def all_steps(
    store: ModelStore, *names: str, **more: Any
) -> tuple[list[Fault], StoreTold, list[Progress]]:
    async def run() -> list[Any]:
        return [step async for step in store.verify(names, **more)]

    steps = asyncio.run(run())
    assert isinstance(steps[-1], StoreTold)
    faults = [step for step in steps if isinstance(step, Fault)]
    return faults, steps[-1], [step for step in steps if isinstance(step, Progress)]


def test_a_store_that_is_right_has_no_faults_and_shared_files_are_read_once(
    store: ModelStore, weights: bytes
) -> None:
    faults, told, progress = all_steps(store)
    assert faults == []
    blobs = list(store.blobs.directory.iterdir())
    assert told == StoreTold(
        models=2, blobs=len(blobs), size_bytes=sum(path.stat().st_size for path in blobs)
    )
    assert {step.status for step in progress} == {"verifying tiny:latest", "verifying other:1b"}
    assert all(step.completed_bytes <= step.total_bytes for step in progress)
    assert any(step.completed_bytes == step.total_bytes > len(weights) for step in progress)


def test_only_the_models_that_are_named_are_looked_at(store: ModelStore, weights: bytes) -> None:
    store.blobs.path(digest_of(b"Be kind.")).unlink()
    assert verify(store, "TINY", "tiny:latest")[0] == []
    assert verify(store, "TINY")[1].models == 1
    assert [fault.model for fault in verify(store, "other:1b")[0]] == ["other:1b"]
    with pytest.raises(NotFound, match="nobody"):
        verify(store, "tiny", "nobody")


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda path, data: path.unlink(), "is missing"),
        (lambda path, data: path.write_bytes(data[:-1]), "is damaged: its sha256"),
        (lambda path, data: path.write_bytes(data + b"x"), "is damaged: its sha256"),
        (lambda path, data: path.write_bytes(bytes(len(data))), "is damaged: its sha256"),
        (lambda path, data: path.unlink() or path.mkdir(), "cannot be read"),
    ],
)
def test_a_damaged_file_is_told_for_every_model_that_needs_it(
    store: ModelStore, weights: bytes, damage: Any, problem: str
) -> None:
    damage(store.blobs.path(digest_of(weights)), weights)
    faults, _ = verify(store)
    assert {(f.model, f.kind, f.digest) for f in faults} == {
        ("tiny:latest", "model", digest_of(weights)),
        ("other:1b", "model", digest_of(weights)),
    }
    assert all(fault.problem.startswith(problem) for fault in faults)
    assert all(str(store.root) not in fault.problem for fault in faults)


def test_bytes_that_changed_behind_the_clocks_back_are_found_and_never_loaded(
    store: ModelStore, weights: bytes
) -> None:
    model = store.find("tiny")
    store.verified_files(model)
    path = store.blobs.path(digest_of(weights))
    state = path.stat()
    path.write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert store.verified_files(model), "size, time and inode are the same"
    assert len(verify(store)[0]) == 2
    with pytest.raises(InvalidModel, match="damaged"):
        store.verified_files(model)


def test_a_blob_that_is_written_into_while_it_is_verified_is_not_trusted(
    store: ModelStore, weights: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.blobs.path(digest_of(weights))
    hashing = verifying.hash_steps

    def written_into(of: Path) -> Any:
        digest = yield from hashing(of)
        os.utime(of, (1, 1))
        return digest

    monkeypatch.setattr(verifying, "hash_steps", written_into)
    assert verify(store)[0] == []
    assert path.stat().st_mtime == 1
    assert not store.is_verified(digest_of(weights))


def test_a_file_of_another_size_than_the_manifest_says_is_wrong_though_its_digest_is_right(
    store: ModelStore, ollama: OllamaStore
) -> None:
    path = ollama.root.joinpath("manifests", *OTHER)
    manifest = json.loads(path.read_text())
    manifest["layers"][1]["size"] = 7
    path.write_text(json.dumps(manifest))
    (fault,) = verify(store)[0]
    assert (fault.kind, fault.problem) == ("system", "has 8 bytes instead of 7")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"config":1}', b"\xff\xfe", b"{}"])
def test_a_manifest_that_is_none_is_told_by_its_model(
    store: ModelStore, ollama: OllamaStore, data: bytes
) -> None:
    ollama.root.joinpath("manifests", *OTHER).write_bytes(data)
    faults, told = verify(store)
    assert [(f.model, f.kind) for f in faults] == [("other:1b", "manifest")]
    assert told.models == 1
    assert told.unneeded_files == 0, "what nobody refers to is unknown now"


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("model", b"GGUF" + bytes(100)),
        ("model", b"PK\x03\x04 a renamed archive"),
        ("projector", b"no GGUF"),
        ("adapter", b""),
        ("params", b"[1, 2]"),
        ("params", b'{"temperature": "warm"}'),
        ("messages", b'{"role": 1}'),
        ("template", b"{{ .Prompt"),
        ("template", b"{% for m in messages %}"),
    ],
)
def test_right_bytes_that_are_no_model_are_wrong(
    store: ModelStore, ollama: OllamaStore, weights: bytes, kind: str, data: bytes
) -> None:
    layers = [("model", weights), (kind, data)] if kind != "model" else [(kind, data)]
    ollama.model((*LIBRARY, "bad", "latest"), layers)
    (fault,) = verify(store)[0]
    assert (fault.model, fault.kind, fault.digest) == ("bad:latest", kind, digest_of(data))
    assert fault.problem


def test_a_config_that_is_none_is_wrong(store: ModelStore, ollama: OllamaStore) -> None:
    path = ollama.root.joinpath("manifests", *OTHER)
    manifest = json.loads(path.read_text())
    manifest["config"] |= ollama.blob(b"no config")
    path.write_text(json.dumps(manifest))
    (fault,) = verify(store)[0]
    assert (fault.model, fault.kind) == ("other:1b", "config")


def test_a_template_in_the_model_file_counts_where_it_is_the_one_that_is_used(
    store: ModelStore, ollama: OllamaStore, tmp_path: Path
) -> None:
    data = tiny_gguf(tmp_path / "bad.gguf", template="{% for m in messages %}").read_bytes()
    ollama.model((*LIBRARY, "bad", "latest"), [("model", data)])
    ollama.model((*LIBRARY, "good", "latest"), [("model", data), ("template", b"{{ .Prompt }}")])
    assert [fault.model for fault in verify(store)[0]] == ["bad:latest"]


def test_adapters_and_files_of_other_kinds_are_looked_at_as_what_they_are(
    store: ModelStore, ollama: OllamaStore, weights: bytes, tmp_path: Path
) -> None:
    adapter = tiny_adapter(tmp_path / "a.gguf").read_bytes()
    ollama.model(
        (*LIBRARY, "more", "latest"),
        [("model", weights), ("adapter", adapter), ("license", b"\xff\xfe"), ("unheard", b"of")],
    )
    assert verify(store)[0] == []


def test_what_no_model_needs_is_told_and_removed_once_it_is_old(store: ModelStore) -> None:
    directory = store.blobs.directory
    orphan = directory / digest_of(b"nobody's").replace(":", "-")
    for path in (orphan, directory / "tmp-1-abc", directory / f"{orphan.name}-partial"):
        path.write_bytes(b"nobody's")
    (directory / "README").write_text("not ours to judge")
    faults, told = verify(store)
    assert (faults, told.unneeded_files, told.unneeded_bytes) == ([], 3, 24)
    assert verify(store, "tiny")[1].unneeded_files == 0, "told of a whole store only"
    assert verify(store, repair=True)[1].removed_files == 0, "it may be on its way to a model"
    for path in directory.iterdir():
        os.utime(path, (1e9, 1e9))
    _, told = verify(store, repair=True)
    assert (told.removed_files, told.unneeded_files) == (3, 0)
    assert (directory / "README").exists()
    assert verify(store) == ([], verify(store)[1])


def test_a_large_file_tells_how_far_it_is(
    store: ModelStore, ollama: OllamaStore, weights: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifying, "_STEP_BYTES", 1 << 20)
    path = ollama.root.joinpath("manifests", *OTHER)
    manifest = json.loads(path.read_text())
    document = {"mediaType": "application/vnd.dimora.image.document", "name": "a.txt"}
    manifest["layers"].append(document | ollama.blob(os.urandom(5 << 20)))
    path.write_text(json.dumps(manifest))
    _, _, progress = all_steps(store, "other:1b")
    counts = [step.completed_bytes for step in progress]
    assert len(counts) >= 5
    assert counts == sorted(counts)


def test_without_a_source_everything_wrong_stays_and_nothing_is_lost(
    store: ModelStore, weights: bytes
) -> None:
    """No registry is allowed here: the damaged bytes are put back where they were."""
    path = store.blobs.path(digest_of(weights))
    path.write_bytes(weights[:-5])
    faults, _ = verify(store, repair=True)
    assert {fault.mended for fault in faults} == {False}
    assert all(fault.why_not for fault in faults)
    assert path.read_bytes() == weights[:-5]
    assert not list(store.blobs.directory.glob("tmp-*"))
