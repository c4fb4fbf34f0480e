"""What a registry is told of who asks: its own proof, and nobody else's."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from dimora.core.errors import (
    DimoraError,
    Forbidden,
    SourceFailed,
)
from dimora.core.written import Credential
from dimora.models.remote.access import SourceAccess
from dimora.models.store import ModelStore
from tests.faults.registry_pulls import (
    NAME,
    SECRET,
    assert_whole,
    pull,
    store_for,
)
from tests.faults.registry_site import RegistrySite
from tests.faults.site import Asked, Authority, Reply, ranged

# So that small files come in several parts, and trouble is over soon.
pytestmark = pytest.mark.usefixtures("small_parts")


def refusing(word: str, *, challenge: str) -> Callable[[Asked], Reply | None]:
    def guard(asked: Asked) -> Reply | None:
        if asked.headers.get("authorization") == word:
            return None
        return Reply(401, headers={"WWW-Authenticate": challenge})

    return guard


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
