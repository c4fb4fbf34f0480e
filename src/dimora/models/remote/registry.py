"""Speaks with one registry: the OCI distribution protocol, as Ollama's registry knows it too.

Manifests and blobs both ways. Proof of who we are is HTTP Basic, or a Bearer token that a realm
gives; a credential is shown to the host it was given for and to no other (OCI distribution
specification 1.1; CVE-2025-51471 is what happens otherwise).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from urllib.parse import urlencode, urljoin

import msgspec

from dimora.core.errors import Forbidden, InvalidModel, NotFound, SourceFailed
from dimora.core.json_text import BAD_JSON
from dimora.models.manifests import MANIFEST_LIMIT_BYTES, MANIFEST_TYPE
from dimora.models.names import DEFAULT_HOST, Name
from dimora.models.remote.fetching import BlobFetch, Challenged, FileWanted
from dimora.models.remote.key_proof import sign_request
from dimora.models.remote.network import AGAIN, Answer, Content, Interrupted, Network, Refused
from dimora.models.remote.places import Place, place_of
from dimora.storage.blobs import CHUNK_BYTES, BlobStore, is_digest

OCI_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
DOCKER_LIST_TYPE = "application/vnd.docker.distribution.manifest.list.v2+json"
_ACCEPTED = ", ".join((MANIFEST_TYPE, OCI_MANIFEST_TYPE, OCI_INDEX_TYPE, DOCKER_LIST_TYPE))
_TOKEN_LIMIT_BYTES = 64 << 10
_ANSWER_LIMIT_BYTES = 1 << 20
_UPLOAD_BYTES = 32 << 20
_UPLOAD_TRIES = 4
_ASK_TRIES = 3
_PAUSE_SECONDS = 0.5
# Tokens are asked for again so long before their end.
_SLACK_SECONDS = 15.0
_LEAST_TOKEN_SECONDS = 60.0
_FIELD = re.compile(r'(\w+)\s*=\s*"([^"]*)"|(\w+)\s*=\s*([^\s,"]+)')


class Uploaded(msgspec.Struct, frozen=True):
    """How much of a blob is at the registry."""

    completed_bytes: int


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    expires_in: float = 0.0


class _Listed(msgspec.Struct):
    digest: str
    media_type: str = msgspec.field(default="", name="mediaType")


class _Index(msgspec.Struct):
    manifests: list[_Listed] = []


class Registry:
    """One repository of one registry. `url` begins with http:// or https://, without a path."""

    def __init__(
        self,
        network: Network,
        url: str,
        repository: str,
        *,
        insecure: bool = False,
    ) -> None:
        self._network = network
        self._place = place_of(url)
        self._root = f"{url}/v2/{repository}"
        self._repository = repository
        self._insecure = insecure
        self._authorization: str | None = None
        self._valid_until = float("inf")
        self._challenge: Mapping[str, str] = {}
        self._shown = self._place
        self._proving = asyncio.Lock()

    async def manifest(self, reference: str) -> tuple[bytes, str]:
        """The bytes and media type of a tag's or digest's manifest.

        Raises NotFound, Refused, Forbidden, SourceFailed.
        """
        reply = await self._ask(
            "GET",
            f"{self._root}/manifests/{reference}",
            headers={"Accept": _ACCEPTED},
            limit_bytes=MANIFEST_LIMIT_BYTES,
        )
        if reply.status == 404:
            raise NotFound(
                "pull model manifest: file does not exist",
                code="model_not_found",
                hint=f"{self._place.key} has no {self._repository}:{reference}",
            )
        self._expect(reply, 200, "a manifest")
        if is_digest(reference) and digest_of(reply.body) != reference:
            raise SourceFailed(f"{self._place.host} sent another manifest than it was asked for")
        media_type = reply.headers.get("Content-Type", "").partition(";")[0].strip()
        return reply.body, media_type

    def fetch(self, digest: str, size_bytes: int, blobs: BlobStore) -> BlobFetch:
        """A blob on its way into the store."""
        wanted = FileWanted(
            url=f"{self._root}/blobs/{digest}",
            size_bytes=size_bytes,
            digest=digest,
            insecure=self._insecure,
        )
        return BlobFetch(self._network, wanted, blobs, proof=self._proof)

    async def has_blob(self, digest: str) -> bool:
        reply = await self._ask("HEAD", f"{self._root}/blobs/{digest}")
        if reply.status not in (200, 404):
            self._expect(reply, 200, "whether it has a file")
        return reply.status == 200

    async def push_blob(
        self, digest: str, path: Path, *, known_in: str = ""
    ) -> AsyncGenerator[Uploaded, None]:
        """Send a blob in pieces; a piece that was broken off is sent again.

        `known_in` is another repository of this registry that may have it: then nothing is sent.

        Raises Refused, Forbidden, SourceFailed, OSError of the disk.
        """
        size = path.stat().st_size  # noqa: ASYNC240 - one small call
        place = f"{self._root}/blobs/uploads/"
        mount = f"?{urlencode({'mount': digest, 'from': known_in})}" if known_in else ""
        reply = await self._ask("POST", f"{place}{mount}", content=b"")
        if known_in and reply.status == 201:
            yield Uploaded(size)
            return
        self._expect(reply, 202, "an upload")
        place = self._location(reply, place)
        sent = tries = 0
        while sent < size:
            end = min(sent + _UPLOAD_BYTES, size)
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Range": f"{sent}-{end - 1}",
                "Content-Length": str(end - sent),
            }
            try:
                reply = await self._ask(
                    "PATCH", place, headers=headers, content=_piece_of(path, sent, end)
                )
                if reply.status in AGAIN:
                    raise Interrupted(f"{self._place.key} answered {reply.status} to a piece")
                self._expect(reply, 202, "a piece of the upload")
                place, sent, tries = self._location(reply, place), end, 0
            except Interrupted:
                tries += 1
                if tries >= _UPLOAD_TRIES:
                    raise
                await asyncio.sleep(_PAUSE_SECONDS * tries)
                place, sent = await self._resumed(place)
            yield Uploaded(sent)
        separator = "&" if "?" in place else "?"
        reply = await self._ask(
            "PUT", f"{place}{separator}{urlencode({'digest': digest})}", content=b""
        )
        self._expect(reply, 201, "the end of the upload")

    async def push_manifest(self, reference: str, data: bytes, media_type: str) -> None:
        """Raises Refused, Forbidden, SourceFailed."""
        reply = await self._ask(
            "PUT",
            f"{self._root}/manifests/{reference}",
            headers={"Content-Type": media_type},
            content=data,
        )
        self._expect(reply, 201, "a manifest")

    async def _resumed(self, place: str) -> tuple[str, int]:
        """Where an upload goes on, and how much of it is there."""
        reply = await self._ask("GET", place)
        self._expect(reply, 204, "how far the upload is")
        end = reply.headers.get("Range", "").rpartition("-")[2]
        return self._location(reply, place), int(end) + 1 if end.isdecimal() and end != "0" else 0

    def _location(self, reply: Answer, asked: str) -> str:
        target = reply.headers.get("Docker-Upload-Location") or reply.headers.get("Location", "")
        if not target:
            raise SourceFailed(f"{self._place.host} did not say where an upload goes")
        return urljoin(asked, target)

    async def _ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: Content = None,
        limit_bytes: int = _ANSWER_LIMIT_BYTES,
    ) -> Answer:
        """Ask, once more with proof when the registry wants it, and again when it is in trouble."""
        # A registry may hand uploads to another host: our proof is not for that one.
        own = place_of(url) == self._place
        proved, tries = not own, 1
        while True:
            reply = await self._network.read(
                method,
                url,
                headers=headers,
                content=content,
                limit_bytes=limit_bytes,
                insecure=self._insecure,
                authorize=await self._proof() if own else None,
            )
            if reply.status == 401 and not proved:
                proved = True
                pushing = method not in ("GET", "HEAD") or "/uploads/" in url
                await self._prove(reply.headers.get("WWW-Authenticate", ""), pushing=pushing)
            elif reply.status in AGAIN and method in ("GET", "HEAD") and tries < _ASK_TRIES:
                tries += 1
                await asyncio.sleep(_PAUSE_SECONDS * tries)
            else:
                return reply

    async def _proof(self, refusal: Challenged | None = None) -> str | None:
        """The Authorization header, a new one after a refusal; several streams share it."""
        async with self._proving:
            if refusal is not None and refusal.shown == self._authorization:
                await self._prove(refusal.challenge, pushing=False)
            elif self._authorization and time.monotonic() > self._valid_until:
                await self._fetch_token(self._challenge)
            return self._authorization

    async def _prove(self, challenge: str, *, pushing: bool) -> None:
        scheme, _, rest = challenge.partition(" ")
        own = self._network.access.authorization_for(self._place.key)
        # A token of the settings is shown as it is, and to the registry alone.
        if scheme.lower() == "basic" or (own is not None and own.startswith("Bearer ")):
            self._authorization, self._valid_until = own, float("inf")
            if own is None:
                raise self._refused()
            return
        if scheme.lower() != "bearer":
            raise self._refused()
        fields = {m[1] or m[3]: m[2] if m[1] else m[4] for m in _FIELD.finditer(rest)}
        actions = "pull,push" if pushing else "pull"
        fields["scope"] = f"repository:{self._repository}:{actions}"
        self._challenge = fields
        await self._fetch_token(fields)

    async def _fetch_token(self, fields: Mapping[str, str]) -> None:
        """Of the realm, which must be the registry itself or a host of the settings."""
        realm = fields.get("realm", "")
        self._shown = place_of(realm)
        if self._shown.scheme != "https" and self._place.scheme == "https":
            raise Forbidden(
                f"{self._place.key} wants us to prove ourselves without encryption",
                code="insecure_not_allowed",
            )
        query = {name: fields[name] for name in ("service", "scope") if fields.get(name)}
        url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}"
        authorization = self._network.access.authorization_for(self._shown.key)
        if key := self._network.access.key_for(self._shown.key):
            url, authorization = await asyncio.to_thread(sign_request, key, url)
        reply = await self._network.read(
            "GET",
            url,
            limit_bytes=_TOKEN_LIMIT_BYTES,
            insecure=self._insecure,
            authorize=authorization,
        )
        if reply.status in (400, 401, 403, 404):
            raise self._refused()
        self._authorization, self._valid_until = _read_token(reply, self._shown)

    def _expect(self, reply: Answer, status: int, what: str) -> None:
        if reply.status == status:
            return
        if reply.status in (401, 403):
            raise self._refused()
        if reply.status == 405:
            raise SourceFailed(
                f"{self._place.key} takes no models, it only gives them", code="read_only_registry"
            )
        raise SourceFailed(f"{self._place.key} answered {reply.status} to {what}")

    def _refused(self) -> Refused:
        key = self._shown.key
        if key in self._network.access.credentials:
            return Refused(
                f"{self._place.key} does not let us in with the credentials we have",
                hint=f"check what registry_credentials has for {key}",
            )
        hint = f"set registry_credentials (DIMORA_REGISTRY_CREDENTIALS) to {key}=user:password"
        if key == DEFAULT_HOST:
            hint = (
                "it knows people by a key: set registry_credentials to"
                f" {key}=ed25519:~/.ollama/id_ed25519, and tell it the public half"
            )
        return Refused(f"{self._place.key} does not let us in without credentials", hint=hint)


async def find_registry(network: Network, name: Name, text: str, *, insecure: bool) -> str:
    """The URL of a name's registry, without a path: https, or http where that may be.

    `text` may begin with the scheme. A host of this machine, and any host with `insecure`, is
    asked for https first. Raises Forbidden, SourceFailed.
    """
    scheme, separator, _ = text.partition("://")
    url = f"{scheme.lower() if separator else 'https'}://{name.host}"
    if separator or not (insecure or place_of(url).is_loopback):
        return url
    try:
        await network.read("GET", f"{url}/v2/", limit_bytes=_ANSWER_LIMIT_BYTES)
    except Interrupted:
        # Nobody speaks TLS there. What else is wrong, the next request finds out.
        return f"http://{name.host}"
    return url


def choose_manifest(data: bytes) -> str:
    """Of an index that lists manifests, the digest of the first that can be a model's.

    Raises InvalidModel.
    """
    try:
        listed = msgspec.json.decode(data, type=_Index).manifests
    except BAD_JSON:
        raise InvalidModel("the registry's index of manifests is damaged") from None
    for row in listed:
        if row.media_type in ("", MANIFEST_TYPE, OCI_MANIFEST_TYPE) and is_digest(row.digest):
            return row.digest
    raise InvalidModel("the registry's index lists no manifest of a model")


def _read_token(reply: Answer, place: Place) -> tuple[str, float]:
    """The Authorization header a realm gave, and until when it holds. Raises SourceFailed."""
    try:
        token = msgspec.json.decode(reply.body, type=_Token)
    except BAD_JSON:
        token = _Token()
    word = token.token or token.access_token
    if reply.status != 200 or not word or any(not "!" <= c <= "~" for c in word):
        raise SourceFailed(f"{place.key} gave no token")
    lasts = max(token.expires_in, _LEAST_TOKEN_SECONDS) - _SLACK_SECONDS
    return f"Bearer {word}", time.monotonic() + lasts


def digest_of(data: bytes) -> str:
    """What a registry calls these bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _piece_of(path: Path, start: int, end: int) -> Content:
    async def read() -> AsyncIterator[bytes]:
        with path.open("rb") as file:
            file.seek(start)
            left = end - start
            while left and (chunk := file.read(min(CHUNK_BYTES, left))):
                left -= len(chunk)
                yield chunk

    return read
