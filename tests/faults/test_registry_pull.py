"""Pulls from a registry that breaks, lies and spies; whatever it does, the store stays whole."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dimora.core.errors import (
    DimoraError,
    Forbidden,
    InvalidModel,
    NotFound,
    SourceFailed,
    StorageFull,
)
from dimora.core.types import Progress
from dimora.core.written import Credential
from dimora.models.remote import fetching
from dimora.models.remote.access import SourceAccess
from dimora.models.remote.fetching import BlobFetch, FileWanted
from dimora.models.remote.network import Interrupted, Network, Refused
from dimora.models.store import ModelStore
from dimora.models.taking import Taken
from tests.conftest import environment, run_dimora
from tests.faults.registry_site import CONFIG, INDEX, OURS, RegistrySite, described, ranged
from tests.faults.site import Asked, Authority, Reply, Site
from tests.unit.models.making import digest_of, tiny_gguf

SECRET = "geheim-und-lang"
NAME = "team/tiny:latest"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tiny_gguf(tmp_path / "tiny.gguf")
    with path.open("ab") as file:
        file.write(os.urandom(3_000_000))
    return path


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that small files come in several parts, and trouble is over soon."""
    monkeypatch.setattr(fetching, "_LEAST_PART_BYTES", 400_000)
    monkeypatch.setattr(fetching, "_NOTE_BYTES", 200_000)
    monkeypatch.setattr(fetching, "_TRIES", 3)
    monkeypatch.setattr("dimora.models.remote.registry._PAUSE_SECONDS", 0.01)
    pause = BlobFetch.__init__.__kwdefaults__
    monkeypatch.setitem(pause, "pause_seconds", 0.01)


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


def refusing(word: str, *, challenge: str) -> Callable[[Asked], Reply | None]:
    def guard(asked: Asked) -> Reply | None:
        if asked.headers.get("authorization") == word:
            return None
        return Reply(401, headers={"WWW-Authenticate": challenge})

    return guard


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


@pytest.mark.parametrize("trouble", ["503", "cut", "short", "other range", "too much", "hang up"])
async def test_trouble_with_a_part_is_tried_again(open_site, registry, weights, tmp_path, trouble):
    registry.add_model(weights)
    left = [3]

    def spoil(asked: Asked, reply: Reply) -> Reply:
        if "range" not in asked.headers or not left[0]:
            return reply
        left[0] -= 1
        return {
            "503": Reply(503),
            "cut": reply._replace(cut=1000),
            "short": reply._replace(body=reply.body[:-7]),
            "other range": reply._replace(headers={"Content-Range": "bytes 5-9/10"}),
            "too much": reply._replace(body=reply.body + b"more"),
            "hang up": reply._replace(cut=0),
        }[trouble]

    registry.spoil = spoil
    here = open_site(registry)
    store = store_for(tmp_path, here)
    await pull(store, here)
    assert left == [0]
    assert_whole(store, here, weights)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(503), Interrupted),
        (Reply(404), NotFound),
        (Reply(403), Refused),
        (Reply(418), SourceFailed),
        (Reply(206, b"", {"Content-Range": "bytes 0-0/1"}), Interrupted),
        (Reply(307, b"", {"Location": "https://10.0.0.1/x"}), Forbidden),
        (Reply(307, b"", {"Location": "http://169.254.169.254/x"}), Forbidden),
    ],
)
async def test_trouble_that_stays_ends_the_pull_and_keeps_what_came(
    open_site, registry, weights, tmp_path, reply, error
):
    registry.add_model(weights)
    came = threading.Event()

    def spoil(asked: Asked, good: Reply) -> Reply:
        if "range" in asked.headers and came.is_set():
            return reply
        if "range" in asked.headers:
            came.set()
        return good

    registry.spoil = spoil
    here = open_site(registry)
    store = store_for(tmp_path, here)
    with pytest.raises(error):
        await pull(store, here)
    assert_nothing_shown(store)
    here.asked.clear()
    registry.spoil = lambda _, good: good
    await pull(store, here)
    assert_whole(store, here, weights)


async def test_a_server_without_ranges_is_asked_for_the_whole(
    open_site, registry, weights, tmp_path
):
    registry.add_model(weights)
    registry.ranges = False
    here = open_site(registry)
    store = store_for(tmp_path, here)
    await pull(store, here)
    assert_whole(store, here, weights)


async def test_a_part_that_falls_silent_is_asked_for_again(open_site, registry, weights, tmp_path):
    data, silence, left = weights.read_bytes(), threading.Event(), [2]

    def spoil(asked: Asked, reply: Reply) -> Reply:
        if not left[0]:
            return reply
        left[0] -= 1
        return reply._replace(pause=lambda: silence.wait(20))

    registry.spoil = spoil
    registry.add("x", data)
    here = open_site(registry)
    store = store_for(tmp_path, here)
    wanted = FileWanted(
        url=f"{here.url}/v2/a/b/blobs/{digest_of(data)}",
        size_bytes=len(data),
        digest=digest_of(data),
    )
    began = time.monotonic()
    fetch = BlobFetch(Network(store.access), wanted, store.blobs, stall_seconds=0.3)
    steps = [step async for step in fetch.run()]
    silence.set()
    assert steps[-1] == Taken(digest=digest_of(data), size_bytes=len(data))
    assert time.monotonic() - began < 10
    assert left == [0]


async def test_files_from_elsewhere_come_without_our_proof(open_site, registry, weights, tmp_path):
    registry.add_model(weights)
    registry.guard = refusing(f"Bearer {SECRET}", challenge="Basic")
    away = open_site(
        lambda asked: ranged(asked, registry.blobs[f"sha256:{asked.path.rpartition('/')[2]}"])
    )

    def spoil(asked: Asked, reply: Reply) -> Reply:
        if reply.status in (200, 206) and "/blobs/" in asked.path:
            place = f"{away.url}/{asked.path.rpartition(':')[2]}"
            return Reply(307, headers={"Location": place})
        return reply

    registry.spoil = spoil
    here = open_site(registry)
    credentials = {here.key: Credential(token=SECRET)}
    store = store_for(tmp_path, here, away, credentials=credentials)
    await pull(store, here)
    assert_whole(store, here, weights)
    assert len(away.asked) > 2
    assert SECRET not in str(away.asked)


def bearer(realm: Callable[[], str], *, lasts: int = 300) -> tuple[RegistrySite, Callable]:
    """A registry that wants tokens, and the realm that gives them; tokens count upwards."""
    registry, given = RegistrySite(), [0]

    def guard(asked: Asked) -> Reply | None:
        if asked.headers.get("authorization") == f"Bearer t{given[0]}" and given[0]:
            return None
        challenge = f'Bearer realm="{realm()}",service="house",scope="repository:x:pull"'
        return Reply(401, headers={"WWW-Authenticate": challenge})

    def give(asked: Asked) -> Reply:
        given[0] += 1
        return Reply(body=json.dumps({"token": f"t{given[0]}", "expires_in": lasts}).encode())

    registry.guard = guard
    return registry, give


async def test_a_token_is_fetched_from_the_registry_itself_with_our_password(
    open_site, weights, tmp_path
):
    registry, give = bearer(lambda: f"{here.url}/token")
    registry.add_model(weights)
    here = open_site(lambda asked: give(asked) if "/token" in asked.path else registry(asked))
    store = store_for(
        tmp_path, here, credentials={here.key: Credential(user="anna", password=SECRET)}
    )
    await pull(store, here)
    assert_whole(store, here, weights)
    (asked,) = [a for a in here.asked if "/token" in a.path]
    assert asked.headers["authorization"].startswith("Basic ")
    assert "service=house" in asked.path
    assert "scope=repository%3Ateam%2Ftiny%3Apull" in asked.path


async def test_a_token_is_given_to_nobody_in_particular_too(open_site, weights, tmp_path):
    registry, give = bearer(lambda: f"{here.url}/token")
    registry.add_model(weights)
    here = open_site(lambda asked: give(asked) if "/token" in asked.path else registry(asked))
    await pull(store_for(tmp_path, here), here)
    (asked,) = [a for a in here.asked if "/token" in a.path]
    assert "authorization" not in asked.headers


async def test_a_token_that_ends_while_files_come_is_fetched_anew(open_site, weights, tmp_path):
    registry, give = bearer(lambda: f"{here.url}/token")
    registry.add_model(weights)
    ended = [False]

    def spoil(asked: Asked, reply: Reply) -> Reply:
        if reply.status == 206 and not ended[0]:
            ended[0] = True
            give(asked)
        return reply

    registry.spoil = spoil
    here = open_site(lambda asked: give(asked) if "/token" in asked.path else registry(asked))
    store = store_for(tmp_path, here)
    await pull(store, here)
    assert ended[0]
    assert_whole(store, here, weights)


async def test_a_realm_that_nobody_allowed_is_not_asked(open_site, weights, tmp_path):
    spy = open_site(lambda asked: Reply(body=b'{"token": "x"}'))
    registry, _ = bearer(lambda: f"{spy.url}/token")
    registry.add_model(weights)
    here = open_site(registry)
    credentials = {here.key: Credential(user="anna", password=SECRET)}
    with pytest.raises(Forbidden, match="not allowed"):
        await pull(store_for(tmp_path, here, credentials=credentials), here)
    assert spy.asked == []


async def test_an_allowed_realm_sees_its_own_password_and_never_the_registrys(
    open_site, weights, tmp_path
):
    registry, give = bearer(lambda: f"{there.url}/token")
    registry.add_model(weights)
    there = open_site(give)
    here = open_site(registry)
    credentials = {here.key: Credential(user="anna", password=SECRET)}
    await pull(store_for(tmp_path / "a", here, there, credentials=credentials), here)
    assert "authorization" not in there.asked[0].headers
    credentials[there.key] = Credential(user="berta", password="other")
    await pull(store_for(tmp_path / "b", here, there, credentials=credentials), here)
    assert there.asked[1].headers["authorization"].startswith("Basic YmVydGE6")


async def test_a_registry_with_tls_cannot_ask_for_proof_without_it(open_site, weights, tmp_path):
    authority = Authority(tmp_path)
    plain = open_site(lambda asked: Reply(body=b'{"token": "x"}'))
    registry, _ = bearer(lambda: f"{plain.url}/token")
    here = open_site(registry, tls=authority.context("127.0.0.1"))
    access = {"certificates": str(authority.certificates)}
    with pytest.raises(Forbidden, match="without encryption"):
        await pull(store_for(tmp_path, here, plain, **access), here, insecure=True)
    assert plain.asked == []


async def test_tls_is_tried_before_anything_is_said_in_clear(open_site, weights, tmp_path):
    authority = Authority(tmp_path)
    registry = RegistrySite()
    registry.add_model(weights)
    here = open_site(registry, tls=authority.context("127.0.0.1"))
    store = store_for(tmp_path, here, certificates=str(authority.certificates))
    await pull(store, here, insecure=True)
    assert_whole(store, here, weights)
    # A certificate that is not trusted is no reason to speak in clear.
    with pytest.raises(SourceFailed, match="not trusted"):
        await pull(store_for(tmp_path / "b", here), here, insecure=True)


async def test_writing_http_before_a_name_opens_nothing(tmp_path):
    access = SourceAccess(registries=("10.255.255.1",))
    store = ModelStore(tmp_path / "models", access=access)
    with pytest.raises(Forbidden, match="without encryption"):
        async for _ in store.pull("http://10.255.255.1/team/tiny"):
            pass


LEAKS = {
    "basic": lambda key: Reply(401, headers={"WWW-Authenticate": "Basic"}),
    "bearer": lambda key: Reply(
        401, headers={"WWW-Authenticate": f'Bearer realm="http://{key}/{SECRET}?t={SECRET}"'}
    ),
    "no realm": lambda key: Reply(401, headers={"WWW-Authenticate": f"Bearer {SECRET}"}),
    "odd realm": lambda key: Reply(
        401, headers={"WWW-Authenticate": f'Bearer realm="ftp://{SECRET}@x/"'}
    ),
    "odd scheme": lambda key: Reply(401, headers={"WWW-Authenticate": f"{SECRET} x"}),
    "forbidden": lambda key: Reply(403, SECRET.encode()),
    "trouble": lambda key: Reply(500, SECRET.encode(), {"X-Secret": SECRET}),
    "redirect": lambda key: Reply(307, headers={"Location": f"https://10.0.0.1/?s={SECRET}"}),
    "userinfo": lambda key: Reply(307, headers={"Location": f"https://{SECRET}@example.org/"}),
    "no manifest": lambda key: Reply(200, f'{{"{SECRET}'.encode()),
    "hang up": lambda key: Reply(200, b"x", cut=0),
}


@pytest.mark.parametrize("leak", LEAKS)
@pytest.mark.parametrize("pushing", [False, True])
async def test_no_error_of_a_pull_or_push_tells_a_secret(
    open_site, weights, tmp_path, leak, pushing
):
    here = open_site(lambda asked: LEAKS[leak](here.key))
    credentials = {here.key: Credential(user="anna", password=SECRET)}
    store = store_for(
        tmp_path, here, credentials=credentials, proxy=f"http://me:{SECRET}@127.0.0.1:1"
    )
    name = f"{here.key}/{NAME}"
    store.import_file(weights, name)
    with pytest.raises(DimoraError) as caught:
        async for _ in store.push(name) if pushing else store.pull(name):
            pass
    error: BaseException | None = caught.value
    assert SECRET not in caught.value.text
    assert "c2VjcmV0" not in caught.value.text
    while error is not None:
        assert SECRET not in str(error)
        error = error.__cause__


class Killer:
    """Ends a pull once so many bytes left the server."""

    def __init__(self, site_of_registry: RegistrySite, strike: Callable[[], object]) -> None:
        self._left = 0
        self._strike = strike
        site_of_registry.sent = self._count

    def aim(self, after_bytes: int) -> None:
        self._left = after_bytes

    def _count(self, size: int) -> None:
        before, self._left = self._left, self._left - size
        if before > 0 >= self._left:
            self._strike()


async def test_a_pull_given_up_at_200_random_points_ends_with_the_same_model(
    open_site, registry, weights, tmp_path
):
    chance = random.Random(7)
    registry.add_model(weights, system=b"Be kind.", template=b"{{ .Prompt }}")
    here = open_site(registry)
    loop, total = asyncio.get_running_loop(), weights.stat().st_size
    current: list[asyncio.Task[object]] = []
    killer = Killer(registry, lambda: loop.call_soon_threadsafe(lambda: current[-1].cancel()))
    name = f"http://{here.key}/{NAME}"
    given_up = attempt = 0

    async def pull_all(store: ModelStore) -> None:
        async for _ in store.pull(name):
            pass

    while given_up < 200:
        attempt += 1
        store = store_for(tmp_path / str(attempt), here)
        for _ in range(20):
            killer.aim(chance.randrange(1, total // 4))
            current.append(asyncio.create_task(pull_all(store)))
            try:
                await current[-1]
                break
            except asyncio.CancelledError:
                given_up += 1
                assert_nothing_shown(store)
        killer.aim(0)
        await pull_all(store)
        store.sweep(grace_seconds=0.0)
        assert_whole(store, here, weights)
    assert given_up >= 200


async def test_a_pull_given_up_at_any_of_its_steps_leaves_the_old_or_the_new(
    open_site, registry, weights, tmp_path
):
    registry.add_model(weights, system=b"old")
    here = open_site(registry)
    store = store_for(tmp_path, here)
    await pull(store, here)
    old = store.find(f"{here.key}/{NAME}").summary.digest
    registry.add_model(weights, system=b"new")
    seen = set()
    for last in range(40):
        steps = store.pull(f"{here.key}/{NAME}")
        ended = True
        at = 0
        async for _ in steps:
            at += 1
            if at > last:
                ended = False
                break
        await steps.aclose()
        model = store.find(f"{here.key}/{NAME}")
        store.verified_files(model)
        seen.add((model.summary.digest == old, model.system))
        if ended:
            break
    assert ended
    assert seen == {(True, "old"), (False, "new")}
    store.sweep(grace_seconds=0.0)
    assert_whole(store, here, weights)


def test_a_killed_pull_is_taken_up_by_the_next_process(open_site, registry, weights, tmp_path):
    chance = random.Random(11)
    with weights.open("ab") as file:
        file.write(os.urandom(40_000_000))
    registry.add_model(weights)
    here = open_site(registry)
    total = weights.stat().st_size
    running: list[subprocess.Popen[bytes]] = []
    killer = Killer(registry, lambda: running[-1].send_signal(signal.SIGKILL))
    settings = environment(tmp_path, DIMORA_REGISTRIES=here.key)
    killed = 0
    for _ in range(8):
        killer.aim(chance.randrange(1, total // 6))
        running.append(
            subprocess.Popen(
                [sys.executable, "-m", "dimora", "pull", f"{here.key}/{NAME}"],
                env=settings,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        if running[-1].wait(60) == -signal.SIGKILL:
            killed += 1
            assert_nothing_shown(ModelStore(tmp_path / "models"))
    assert killed >= 4
    killer.aim(0)
    run_dimora("pull", f"{here.key}/{NAME}", home=tmp_path, DIMORA_REGISTRIES=here.key)
    store = ModelStore(tmp_path / "models")
    store.sweep(grace_seconds=0.0)
    assert_whole(store, here, weights)


async def test_two_pulls_at_once_share_one_download(open_site, registry, weights, tmp_path):
    registry.add_model(weights)
    registry.sent = lambda _: time.sleep(0.005)
    here = open_site(registry)
    one, two = store_for(tmp_path, here), store_for(tmp_path, here)
    await asyncio.gather(pull(one, here), pull(two, here))
    asked = [a for a in here.asked if a.path.endswith(digest_of(weights.read_bytes()))]
    assert len(asked) == 8
    assert_whole(two, here, weights)
