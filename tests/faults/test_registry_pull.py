"""Pulls from a registry, which may send anything; the store has a model whole or not at all."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable

import pytest

from dimora.core.errors import (
    InvalidModel,
    SourceFailed,
    StorageFull,
)
from tests.faults.registry_pulls import (
    NAME,
    assert_nothing_shown,
    assert_whole,
    files_in,
    pull,
    pull_slowly,
    store_for,
)
from tests.faults.registry_site import CONFIG, INDEX, OURS, described
from tests.faults.site import Reply
from tests.unit.models.making import digest_of

# So that small files come in several parts, and trouble is over soon.
pytestmark = pytest.mark.usefixtures("small_parts")


async def test_a_model_comes_in_parts_at_once_and_as_it_was_sent(
    open_site, registry, weights, tmp_path
):
    manifest = registry.add_model(weights, template=b"{{ .Prompt }}", params=b'{"num_ctx": 64}')
    here = open_site(registry)
    store = store_for(tmp_path, here)
    steps = await pull(store, here)
    assert store.manifests.read_bytes(store.locate(f"{here.key}/{NAME}")) == manifest
    assert_whole(store, here, weights)
    asked = [a for a in here.asked if a.path.endswith(digest_of(weights.read_bytes()))]
    assert len(asked) == 8
    assert all(a.headers["range"] for a in asked)
    moving = [s.completed_bytes for s in steps if s.total_bytes == weights.stat().st_size]
    assert moving == sorted(moving)
    assert moving[-1] == weights.stat().st_size


async def test_a_second_pull_asks_for_the_manifest_alone(open_site, registry, weights, tmp_path):
    registry.add_model(weights)
    here = open_site(registry)
    store = store_for(tmp_path, here)
    await pull(store, here)
    before = len(here.asked)
    await pull(store, here)
    assert all("/blobs/" not in asked.path for asked in here.asked[before:])
    assert_whole(store, here, weights)


async def test_damage_on_the_disk_is_mended(open_site, registry, weights, tmp_path):
    registry.add_model(weights, system=b"Be kind.")
    here = open_site(registry)
    store = store_for(tmp_path, here)
    await pull(store, here)
    for digest in registry.blobs:
        path = store.blobs.path(digest)
        path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    await pull(store, here)
    assert_whole(store, here, weights)


async def test_what_another_model_left_behind_goes_when_a_name_gets_a_new_model(
    open_site, registry, weights, tmp_path
):
    registry.add_model(weights, system=b"old")
    here = open_site(registry)
    store = store_for(tmp_path, here)
    await pull(store, here)
    registry.add_model(weights, system=b"new")
    steps = await pull(store, here)
    assert "removing unused layers" in [step.status for step in steps]
    assert_whole(store, here, weights)


async def test_a_name_without_namespace_is_found_in_either_place(
    open_site, registry, weights, tmp_path
):
    registry.add_model(weights)
    here = open_site(registry)
    store = store_for(tmp_path, here)
    registry.guard = lambda asked: Reply(404) if "/library/" in asked.path else None
    await pull(store, here, "tiny")
    assert_whole(store, here, weights, "tiny")
    assert any(asked.path == "/v2/tiny/manifests/latest" for asked in here.asked)


async def test_an_index_leads_to_the_manifest_it_names(open_site, registry, weights, tmp_path):
    manifest = registry.add_model(weights, tag="hidden")
    rows = [
        {"mediaType": "application/vnd.example.signature", "digest": digest_of(b"x"), "size": 1},
        described("application/vnd.oci.image.manifest.v1+json", manifest),
    ]
    registry.manifests["latest"] = (json.dumps({"manifests": rows}).encode(), INDEX)
    here = open_site(registry)
    store = store_for(tmp_path, here)
    await pull(store, here)
    assert store.manifests.read_bytes(store.locate(f"{here.key}/{NAME}")) == manifest
    registry.manifests[digest_of(manifest)] = (manifest + b" ", "application/json")
    with pytest.raises(SourceFailed, match="another manifest"):
        await pull(store, here)


@pytest.mark.parametrize(
    "index",
    [
        *(b"", b"no", b"[]", b"{}", b'{"manifests": []}', b'{"manifests": [{"digest": "latest"}]}'),
        b'{"manifests": [{"digest": "../../../v2/other/manifests/latest"}]}',
        b'{"manifests": [{"digest": "sha256:../../../../../etc/passwd"}]}',
        b"\xff\xfe",
    ],
)
async def test_a_damaged_index_is_refused(open_site, registry, tmp_path, index):
    registry.manifests["latest"] = (index, INDEX)
    here = open_site(registry)
    with pytest.raises(InvalidModel):
        await pull(store_for(tmp_path, here), here)
    assert [a.path for a in here.asked if "manifests" in a.path] == [
        "/v2/team/tiny/manifests/latest"
    ]


def changed(**changes: object) -> Callable[[dict], dict]:  # type: ignore[type-arg]
    return lambda row: row | changes


@pytest.mark.parametrize(
    "spoil",
    [
        changed(layers=[]),
        changed(layers=None),
        changed(layers={}),
        changed(config=None),
        changed(config={}),
        lambda row: row | {"config": row["config"] | {"digest": "sha256:../../../../tmp/x"}},
        lambda row: row | {"config": row["config"] | {"size": 17 << 20}},
        lambda row: row | {"config": row["config"] | {"size": -1}},
        lambda row: row | {"layers": [row["layers"][0] | {"digest": "sha256:" + "A" * 64}]},
        lambda row: row | {"layers": [row["layers"][0] | {"digest": "sha256-" + "a" * 64}]},
        lambda row: row | {"layers": [row["layers"][0] | {"digest": "sha512:" + "a" * 64}]},
        lambda row: row | {"layers": [row["layers"][0] | {"digest": 5}]},
        lambda row: row | {"layers": [row["layers"][0] | {"size": "10"}]},
        lambda row: row | {"layers": [row["layers"][0] | {"size": 1 << 60}]},
        lambda row: row | {"layers": [row["layers"][0] | {"size": 1 << 49}]},
        lambda row: row | {"layers": [row["layers"][0] | {"mediaType": OURS + "system"}]},
        lambda row: row | {"layers": [row["layers"][0] | {"mediaType": "text/plain"}]},
        lambda row: row | {"layers": [row["layers"][0] | {"mediaType": OURS + "unknown"}]},
        lambda row: row | {"layers": [row["layers"][0] | {"size": 10}]},
        lambda row: row | {"layers": [row["layers"][0] | {"name": "../../../evil"}]},
    ],
)
async def test_a_manifest_that_lies_brings_nothing(open_site, registry, weights, tmp_path, spoil):
    manifest = json.loads(registry.add_model(weights))
    registry.manifests["latest"] = (json.dumps(spoil(manifest)).encode(), "application/json")
    here = open_site(registry)
    store = store_for(tmp_path, here)
    with pytest.raises((InvalidModel, SourceFailed, StorageFull)):
        await pull(store, here)
    assert_nothing_shown(store)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("data", [b"", b"{", b"null", b"[" * 100_000, b"\x00" * 100, b'{"a":1}'])
async def test_what_is_no_manifest_is_refused(open_site, registry, tmp_path, data):
    registry.manifests["latest"] = (data, "application/json")
    here = open_site(registry)
    store = store_for(tmp_path, here)
    with pytest.raises(InvalidModel):
        await pull(store, here)
    assert_nothing_shown(store)


async def test_a_manifest_without_end_is_cut_off(open_site, registry, tmp_path):
    registry.manifests["latest"] = (b" " * (5 << 20), "application/json")
    here = open_site(registry)
    with pytest.raises(SourceFailed, match="more than"):
        await pull(store_for(tmp_path, here), here)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("model", b"this is no model"),
        ("model", b"GGUF" + bytes(100)),
        ("model", pickle.dumps({"a": 1})),
        ("adapter", b"no adapter"),
        ("projector", b"no projector"),
        ("params", b'{"num_ctx": '),
        ("messages", b'{"role": 1}'),
    ],
)
async def test_files_are_looked_at_before_they_can_be_run(
    open_site, registry, weights, tmp_path, kind, data
):
    rows = [registry.add(OURS + kind, data)]
    if kind != "model":
        rows.insert(0, registry.add(f"{OURS}model", weights.read_bytes()))
    registry.add_manifest(rows, config=registry.add(CONFIG, b"{}"))
    here = open_site(registry)
    store = store_for(tmp_path, here)
    with pytest.raises(InvalidModel):
        await pull(store, here)
    assert store.all() == []
    assert files_in(store) == []


async def test_a_file_with_other_bytes_than_promised_is_thrown_away(
    open_site, registry, weights, tmp_path
):
    registry.add_model(weights)
    digest = digest_of(weights.read_bytes())
    registry.blobs[digest] = os.urandom(weights.stat().st_size)
    here = open_site(registry)
    store = store_for(tmp_path, here)
    with pytest.raises(SourceFailed, match="digest mismatch"):
        await pull(store, here)
    assert_nothing_shown(store)
    registry.blobs[digest] = weights.read_bytes()
    await pull(store, here)
    assert_whole(store, here, weights)


async def test_a_sweep_leaves_what_came_of_a_pull_that_takes_days(
    open_site, registry, weights, tmp_path
):
    registry.add_model(weights, system=b"Be kind.", template=b"{{ .Prompt }}")
    here = open_site(registry)
    store = store_for(tmp_path, here)
    await pull_slowly(store, f"{here.key}/{NAME}")
    assert_whole(store, here, weights)
    asked = [a.path for a in here.asked if a.method == "GET" and "range" in a.headers]
    assert len(asked) == 8 + 3, "nothing is fetched twice"
