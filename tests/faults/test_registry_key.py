"""A registry that knows its people by an Ed25519 key, as Ollama's does: who signs may push."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_public_key,
)

from dimora.core.errors import ConfigurationError, SourceFailed
from dimora.core.written import Credential
from dimora.models.remote.access import SourceAccess
from dimora.models.store import ModelStore
from tests.faults.registry_site import RegistrySite
from tests.faults.site import Asked, Reply, Site
from tests.unit.models.making import tiny_gguf

TOKEN = "only-for-who-signed"


class Guarded:
    """Gives a token to who signs with one of its `people`, the public keys in base64."""

    def __init__(self, open_site: Callable[..., Site]) -> None:
        self.people: list[str] = []
        self.nonces: list[str] = []
        self.registry = RegistrySite()
        self.registry.guard = self._guard
        self.here = open_site(
            lambda asked: (
                self._give(asked) if asked.path.startswith("/token") else self._pass(asked)
            )
        )

    def _pass(self, asked: Asked) -> Reply:
        return self.registry(asked)

    def _guard(self, asked: Asked) -> Reply | None:
        if asked.headers.get("authorization") == f"Bearer {TOKEN}":
            return None
        challenge = f'Bearer realm="{self.here.url}/token",service="models",scope="x"'
        return Reply(401, headers={"WWW-Authenticate": challenge})

    def _give(self, asked: Asked) -> Reply:
        public, _, signature = asked.headers.get("authorization", "").partition(":")
        query = parse_qs(urlsplit(asked.path).query)
        fresh = abs(time.time() - int(query.get("ts", ["0"])[0])) < 60
        nonce = query.get("nonce", [""])[0]
        if public not in self.people or not fresh or not nonce or nonce in self.nonces:
            return Reply(401)
        self.nonces.append(nonce)
        no_body = base64.b64encode(hashlib.sha256(b"").hexdigest().encode()).decode()
        signed = f"GET,{self.here.url}{asked.path},{no_body}".encode()
        key = load_ssh_public_key(f"ssh-ed25519 {public}".encode())
        assert isinstance(key, ed25519.Ed25519PublicKey)
        try:
            key.verify(base64.b64decode(signature), signed)
        except InvalidSignature:
            return Reply(401)
        return Reply(body=json.dumps({"token": TOKEN}).encode())


@pytest.fixture
def guarded(open_site: Callable[..., Site]) -> Guarded:
    return Guarded(open_site)


def write_key(path: Path) -> str:
    """A key in OpenSSH's form; gives the public half in base64."""
    key = ed25519.Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return public.split()[1].decode()


def store_for(tmp_path: Path, guarded: Guarded, key: Path | None) -> tuple[ModelStore, str]:
    host = guarded.here.key
    credentials = {host: Credential(key=str(key))} if key else {}
    access = SourceAccess(registries=(host,), credentials=credentials)
    store = ModelStore(tmp_path / "models", access=access)
    name = f"{host}/ada/tiny"
    store.import_file(tiny_gguf(tmp_path / "tiny.gguf"), name)
    return store, name


async def push(store: ModelStore, name: str) -> list[str]:
    return [step.status async for step in store.push(name)]


async def test_who_signs_with_a_known_key_pushes_and_pulls(guarded, tmp_path):
    guarded.people.append(write_key(tmp_path / "id_ed25519"))
    store, name = store_for(tmp_path, guarded, tmp_path / "id_ed25519")
    assert (await push(store, name))[-1] == "success"
    store.delete(name)
    told = [step.status async for step in store.pull(name)]
    assert told[-1] == "success"
    assert store.verified_files(store.find(name)).weights
    secret = (tmp_path / "id_ed25519").read_text().split()[5]
    assert secret not in str(guarded.here.asked)
    shown = [a.headers.get("authorization") for a in guarded.here.asked if "/v2/" in a.path]
    assert set(shown) == {None, f"Bearer {TOKEN}"}, "the signature is for the realm alone"


@pytest.mark.parametrize("known", [False, True])
async def test_who_does_not_sign_or_is_not_known_is_told_so(guarded, tmp_path, known):
    write_key(tmp_path / "id_ed25519")
    store, name = store_for(tmp_path, guarded, tmp_path / "id_ed25519" if known else None)
    with pytest.raises(SourceFailed, match="does not let us in"):
        await push(store, name)
    assert guarded.registry.manifests == {}


@pytest.mark.parametrize("trouble", ["no file", "another form", "another kind", "no key"])
async def test_a_key_that_cannot_sign_is_told_without_a_piece_of_it(guarded, tmp_path, trouble):
    path = tmp_path / "id_ed25519"
    if trouble == "another form":
        locked = BestAvailableEncryption(b"geheim")
        key = ed25519.Ed25519PrivateKey.generate()
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    elif trouble == "another kind":
        key = ec.generate_private_key(ec.SECP256R1())
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    elif trouble == "no key":
        path.write_text("geheim")
    store, name = store_for(tmp_path, guarded, path)
    with pytest.raises(ConfigurationError, match="key for the registry") as told:
        await push(store, name)
    assert "ed25519:" in told.value.hint
    assert "geheim" not in told.value.text and str(tmp_path) not in told.value.text
