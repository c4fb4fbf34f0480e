"""Pushes to a registry that breaks, hands uploads elsewhere, or has the files already."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from dimora.core.errors import BadRequest, Forbidden, InvalidModel, NotFound, SourceFailed
from dimora.core.types import Progress
from dimora.core.written import Credential
from dimora.models.remote import registry as registry_file
from dimora.models.remote.access import SourceAccess
from dimora.models.remote.network import Interrupted, Refused
from dimora.models.store import ModelStore
from tests.faults.registry_site import RegistrySite
from tests.faults.site import Asked, Reply, Site
from tests.unit.models.making import digest_of, tiny_gguf

SECRET = "geheim-und-lang"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tiny_gguf(tmp_path / "tiny.gguf")
    with path.open("ab") as file:
        file.write(os.urandom(1_000_000))
    return path


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_file, "_UPLOAD_BYTES", 300_000)
    monkeypatch.setattr(registry_file, "_PAUSE_SECONDS", 0.01)


def store_with(
    root: Path, weights: Path, here: Site, *others: Site, name: str = "team/tiny", **how: object
) -> tuple[ModelStore, str]:
    keys = tuple(one.key for one in (here, *others))
    access = SourceAccess(registries=keys, **how)  # type: ignore[arg-type]
    store = ModelStore(root / "models", access=access)
    store.import_file(weights, f"{here.key}/{name}")
    return store, f"{here.key}/{name}"


async def push(store: ModelStore, name: str) -> list[Progress]:
    return [step async for step in store.push(name)]


def assert_pushed(registry: RegistrySite, store: ModelStore, name: str) -> None:
    there = store.locate(name)
    assert there is not None
    assert registry.manifests["latest"][0] == store.manifests.read_bytes(there)
    for digest in store.manifests.read(there).manifest.digests:
        assert registry.blobs[digest] == store.blobs.path(digest).read_bytes()


def methods(here: Site) -> list[str]:
    return [asked.method for asked in here.asked]


async def test_a_push_sends_what_is_missing_and_the_manifest_last(
    open_site, registry, weights, tmp_path
):
    here = open_site(registry)
    store, name = store_with(tmp_path, weights, here)
    steps = await push(store, name)
    assert_pushed(registry, store, name)
    assert here.asked[-1].path == "/v2/team/tiny/manifests/latest"
    status = f"pushing {digest_of(weights.read_bytes())[7:19]}"
    assert steps[0].status == "retrieving manifest"
    assert [s.status for s in steps][-2:] == ["pushing manifest", "success"]
    moved = [s.completed_bytes for s in steps if s.status == status]
    assert moved[0] == 0
    assert moved == sorted(moved)
    assert moved[-1] == weights.stat().st_size
    assert methods(here).count("PATCH") == 4 + 1
    here.asked.clear()
    await push(store, name)
    assert set(methods(here)) == {"HEAD", "PUT"}
    assert methods(here).count("PUT") == 1


async def test_a_file_another_repository_has_is_not_sent_again(
    open_site, registry, weights, tmp_path
):
    here = open_site(registry)
    store, name = store_with(tmp_path, weights, here)
    await push(store, name)
    store.copy(name, f"{here.key}/other/tiny")
    here.asked.clear()
    kept = registry._blob
    registry._blob = lambda asked, digest: (  # type: ignore[method-assign]
        Reply(404) if asked.method == "HEAD" else kept(asked, digest)
    )
    await push(store, f"{here.key}/other/tiny")
    assert "PATCH" not in methods(here)
    asked = [a.path for a in here.asked if a.method == "POST"]
    assert all("from=team%2Ftiny" in path and "mount=sha256%3A" in path for path in asked)
    assert len(asked) == 2


@pytest.mark.parametrize("trouble", ["before", "after", "hang up"])
async def test_a_piece_that_breaks_off_is_sent_again(
    open_site, registry, weights, tmp_path, trouble
):
    """Whether the registry got it or not before the connection broke."""
    left = [2]

    def answer(asked: Asked) -> Reply:
        if asked.method != "PATCH" or not left[0]:
            return registry(asked)
        left[0] -= 1
        if trouble != "before":
            registry(asked)
        return Reply(202, b"x", {"Location": "/x"}, cut=0) if trouble == "hang up" else broken

    broken = Reply(202, b"xx", cut=1)
    here = open_site(answer)
    store, name = store_with(tmp_path, weights, here)
    await push(store, name)
    assert left == [0]
    assert_pushed(registry, store, name)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_registry_in_trouble_gets_the_piece_again(
    open_site, registry, weights, tmp_path, status
):
    left = [3]

    def answer(asked: Asked) -> Reply:
        if (
            asked.method != "PATCH"
            or not left[0]
            or asked.headers["content-range"].startswith("0-")
        ):
            return registry(asked)
        left[0] -= 1
        return Reply(status)

    here = open_site(answer)
    store, name = store_with(tmp_path, weights, here)
    await push(store, name)
    assert left == [0]
    assert_pushed(registry, store, name)


async def test_pieces_that_always_break_end_the_push(open_site, registry, weights, tmp_path):
    here = open_site(
        lambda asked: Reply(202, b"xx", cut=1) if asked.method == "PATCH" else registry(asked)
    )
    store, name = store_with(tmp_path, weights, here)
    with pytest.raises(Interrupted):
        await push(store, name)
    assert registry.manifests == {}


@pytest.mark.parametrize("status", [400, 404, 413, 416, 500])
async def test_a_registry_that_does_not_take_it_is_believed(
    open_site, registry, weights, tmp_path, status
):
    here = open_site(lambda asked: Reply(status) if asked.method == "PATCH" else registry(asked))
    store, name = store_with(tmp_path, weights, here)
    with pytest.raises(SourceFailed, match=str(status)):
        await push(store, name)
    assert registry.manifests == {}


async def test_an_upload_that_goes_elsewhere_goes_without_our_proof(
    open_site, registry, weights, tmp_path
):
    def guard(asked: Asked) -> Reply | None:
        if asked.headers.get("authorization", "").startswith("Basic "):
            return None
        return Reply(401, headers={"WWW-Authenticate": 'Basic realm="house"'})

    def answer(asked: Asked) -> Reply:
        reply = registry(asked)
        if asked.method == "POST" and reply.status == 202:
            place = f"{away.url}{reply.headers['Location']}"
            return reply._replace(headers={"Docker-Upload-Location": place, "Location": "/no"})
        return reply

    taking = RegistrySite()
    taking.uploads, taking.blobs = registry.uploads, registry.blobs
    away, here = open_site(taking), open_site(answer)
    registry.guard = guard
    known = {here.key: Credential(user="anna", password=SECRET)}
    store, name = store_with(tmp_path / "a", weights, here, away, credentials=known)
    await push(store, name)
    assert_pushed(registry, store, name)
    assert {"PATCH", "PUT"} == set(methods(away))
    assert all("authorization" not in asked.headers for asked in away.asked)
    registry.blobs.clear()
    store, name = store_with(tmp_path / "b", weights, here, credentials=known)
    with pytest.raises(Forbidden, match="not allowed"):
        await push(store, name)


async def test_a_token_for_looking_is_exchanged_for_one_to_write(
    open_site, registry, weights, tmp_path
):
    def guard(asked: Asked) -> Reply | None:
        if asked.path.startswith("/token"):
            word = "writer" if "%2Cpush" in asked.path else "reader"
            return Reply(body=f'{{"access_token": "{word}"}}'.encode())
        word = asked.headers.get("authorization", "")
        if word == "Bearer writer" or (word == "Bearer reader" and asked.method == "HEAD"):
            return None
        challenge = f'Bearer realm="{here.url}/token",service="x"'
        return Reply(401, headers={"WWW-Authenticate": challenge})

    registry.guard = guard
    here = open_site(registry)
    store, name = store_with(tmp_path, weights, here)
    await push(store, name)
    assert_pushed(registry, store, name)
    assert len([a for a in here.asked if a.path.startswith("/token")]) == 2


async def test_a_registry_that_lets_nobody_write_says_so(open_site, registry, weights, tmp_path):
    here = open_site(lambda asked: Reply(403) if asked.method == "POST" else registry(asked))
    store, name = store_with(tmp_path, weights, here)
    with pytest.raises(Refused, match="does not let us in") as caught:
        await push(store, name)
    assert "registry_credentials" in caught.value.hint


async def test_a_damaged_file_is_not_pushed(open_site, registry, weights, tmp_path):
    here = open_site(registry)
    store, name = store_with(tmp_path, weights, here)
    path = store.blobs.path(digest_of(weights.read_bytes()))
    path.chmod(0o600)
    path.write_bytes(b"x" * weights.stat().st_size)
    with pytest.raises(InvalidModel):
        await push(store, name)
    assert registry.manifests == {}


async def test_only_what_is_here_and_belongs_somewhere_can_be_pushed(
    open_site, registry, weights, tmp_path
):
    here = open_site(registry)
    store, _ = store_with(tmp_path, weights, here)
    with pytest.raises(NotFound):
        await push(store, f"{here.key}/team/nobody")
    with pytest.raises(BadRequest):
        await push(store, "no name!")
    store.import_file(weights, "hf.co/team/tiny")
    with pytest.raises(BadRequest, match="takes no pushes"):
        await push(store, "hf.co/team/tiny")
    store.import_file(weights, "tiny")
    with pytest.raises(Forbidden, match="not allowed"):
        await push(store, "tiny")
    assert here.asked == []


async def test_a_push_that_is_given_up_leaves_no_model_there(
    open_site, registry, weights, tmp_path
):
    here = open_site(registry)
    store, name = store_with(tmp_path, weights, here)
    steps = store.push(name)
    async for step in steps:
        if step.completed_bytes:
            break
    await steps.aclose()
    assert registry.manifests == {}
    await asyncio.sleep(0)
    await push(store, name)
    assert_pushed(registry, store, name)
