"""`verify --repair` against sources on the loopback: what is damaged comes back, by its digest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dimora.core.types import Progress
from dimora.models.catalogue import Catalogue
from dimora.models.remote.access import SourceAccess
from dimora.models.store import ModelStore
from dimora.tasks.keeping import Fault, StoreTold
from dimora.tasks.recipe import Recipe
from tests.faults.package_index import Index, entry_for, store_at
from tests.faults.site import Site
from tests.unit.models.making import digest_of, tiny_gguf

NAME = "team/tiny:latest"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return tiny_gguf(tmp_path / "tiny.gguf")


def store_for(root: Path, *sites: Site) -> ModelStore:
    access = SourceAccess(registries=tuple(one.key for one in sites))
    return ModelStore(root / "models", access=access, catalogue=Catalogue([]))


async def pull(store: ModelStore, name: str) -> None:
    async for _ in store.pull(name):
        pass


async def repair(store: ModelStore, *names: str) -> tuple[list[Fault], list[Progress]]:
    steps: list[Any] = [step async for step in store.verify(names, repair=True)]
    assert isinstance(steps[-1], StoreTold)
    return (
        [step for step in steps if isinstance(step, Fault)],
        [step for step in steps if isinstance(step, Progress)],
    )


async def faults_of(store: ModelStore) -> list[Fault]:
    return [step async for step in store.verify() if isinstance(step, Fault)]


def files_in(store: ModelStore) -> list[str]:
    return sorted(path.name for path in store.blobs.directory.glob("*"))


@pytest.mark.parametrize("damage", ["altered", "cut", "missing"])
async def test_damaged_files_come_back_from_the_registry_and_only_they(
    open_site, registry, weights, tmp_path, damage
):
    manifest = registry.add_model(weights, system=b"Be kind.", params=b'{"num_ctx": 64}')
    here = open_site(registry)
    store = store_for(tmp_path, here)
    await pull(store, f"{here.key}/{NAME}")
    before, asked = files_in(store), len(here.asked)
    wrong = {digest_of(weights.read_bytes()), digest_of(b"Be kind.")}
    for digest in wrong:
        path = store.blobs.path(digest)
        whole = path.read_bytes()
        if damage == "missing":
            path.unlink()
        else:
            path.write_bytes(whole[:-1] + (bytes([whole[-1] ^ 1]) if damage == "altered" else b""))
    faults, _ = await repair(store)
    assert {fault.digest for fault in faults} == wrong
    assert all(fault.mended and not fault.why_not for fault in faults)
    assert await faults_of(store) == []
    assert files_in(store) == before
    name = store.locate(f"{here.key}/{NAME}")
    assert store.manifests.read_bytes(name) == manifest
    fetched = {row.path.rpartition("/")[2] for row in here.asked[asked:] if "/blobs/" in row.path}
    assert fetched == wrong


async def test_a_registry_that_has_another_version_by_now_still_gives_the_old_files(
    open_site, registry, weights, tmp_path
):
    registry.add_model(weights)
    here = open_site(registry)
    store = store_for(tmp_path, here)
    await pull(store, f"{here.key}/{NAME}")
    newer = tiny_gguf(tmp_path / "newer.gguf", context_length=64)
    registry.add_model(newer)
    digest = store.find(f"{here.key}/{NAME}").summary.digest
    store.blobs.path(digest_of(weights.read_bytes())).unlink()
    faults, _ = await repair(store)
    assert [fault.mended for fault in faults] == [True]
    assert store.find(f"{here.key}/{NAME}").summary.digest == digest
    assert digest_of(newer.read_bytes()).replace(":", "-") not in files_in(store)


async def test_what_the_registry_lost_or_spoils_stays_wrong_and_nothing_else_is_lost(
    open_site, registry, weights, tmp_path
):
    registry.add_model(weights)
    here = open_site(registry)
    store = store_for(tmp_path, here)
    await pull(store, f"{here.key}/{NAME}")
    digest = digest_of(weights.read_bytes())
    store.blobs.path(digest).write_bytes(b"GGUF damaged")
    registry.blobs[digest] = bytes(len(weights.read_bytes()))
    for lie in (True, False):
        (fault,) = (await repair(store))[0]
        assert not fault.mended
        assert fault.why_not
        assert store.blobs.path(digest).read_bytes() == b"GGUF damaged"
        assert not [name for name in files_in(store) if name.startswith("tmp-")]
        if lie:
            del registry.blobs[digest]
    registry.blobs[digest] = weights.read_bytes()
    assert (await repair(store))[0][0].mended


async def test_a_model_made_here_is_mended_from_where_its_weights_came_and_keeps_its_words(
    open_site, registry, weights, tmp_path
):
    registry.add_model(weights)
    here = open_site(registry)
    store = store_for(tmp_path, here)
    await pull(store, f"{here.key}/{NAME}")
    recipe = Recipe(source=f"{here.key}/{NAME}", system="Be brief.")
    async for _ in store.create("a-mine", recipe, []):
        pass
    before = store.find("a-mine").summary.digest
    store.blobs.path(digest_of(weights.read_bytes())).unlink()
    store.blobs.path(digest_of(b"Be brief.")).unlink()
    faults, _ = await repair(store, "a-mine")
    told = {(fault.model, fault.kind): fault for fault in faults}
    assert told["a-mine:latest", "model"].mended
    mine = told["a-mine:latest", "system"]
    assert not mine.mended
    assert mine.why_not
    assert [fault.kind for fault in await faults_of(store)] == ["system"]
    store.blobs.put(b"Be brief.")
    assert store.find("a-mine").summary.digest == before


async def test_a_model_of_the_catalogue_is_made_anew_whatever_is_wrong_with_it(
    data: bytes,
    index: Index,
    tmp_path: Path,
) -> None:
    store = store_at(tmp_path / "home", entry_for(index, data))
    await pull(store, "tiny:1b")
    before, name = files_in(store), store.locate("tiny:1b")
    assert name is not None
    manifest = store.manifests.read_bytes(name)
    for digest in store.digests_of(name):
        store.blobs.path(digest).write_bytes(b"")
    faults, _ = await repair(store)
    assert len(faults) == 3
    assert all(fault.mended for fault in faults)
    assert (files_in(store), store.manifests.read_bytes(name)) == (before, manifest)
    store.manifests.path(name).write_bytes(b"")
    (fault,) = (await repair(store))[0]
    assert (fault.kind, fault.mended) == ("manifest", True)
    assert store.manifests.read_bytes(name) == manifest


async def test_a_model_somebody_made_under_a_name_of_the_catalogue_is_not_replaced(
    data: bytes,
    index: Index,
    tmp_path: Path,
) -> None:
    store = store_at(tmp_path / "home", entry_for(index, data))
    await pull(store, "tiny:1b")
    async for _ in store.create("tiny:1b", Recipe(source="tiny:1b", system="Be brief."), []):
        pass
    digest = store.find("tiny:1b").summary.digest
    store.blobs.path(digest_of(b"Be brief.")).unlink()
    store.blobs.path(digest_of(data)).unlink()
    faults, _ = await repair(store)
    assert {fault.kind: fault.mended for fault in faults} == {"model": True, "system": False}
    assert json.loads(store.manifests.path(store.locate("tiny:1b")).read_bytes())["layers"][2]  # type: ignore[arg-type]
    store.blobs.put(b"Be brief.")
    assert store.find("tiny:1b").summary.digest == digest


async def test_a_repair_that_is_given_up_can_be_begun_again(open_site, registry, weights, tmp_path):
    registry.add_model(weights)
    here = open_site(registry)
    store = store_for(tmp_path, here)
    await pull(store, f"{here.key}/{NAME}")
    store.blobs.path(digest_of(weights.read_bytes())).write_bytes(b"GGUF")
    stream = store.verify(repair=True)
    async for step in stream:
        if isinstance(step, Progress) and step.status.startswith("pulling"):
            break
    await stream.aclose()
    assert not [name for name in files_in(store) if name.startswith("tmp-")]
    assert (await repair(store))[0][0].mended
    assert await faults_of(store) == []
