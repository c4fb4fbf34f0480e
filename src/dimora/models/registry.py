"""Speaks with one registry: the OCI distribution protocol, as Ollama's registry knows it too.

Manifests and blobs both ways. Proof of who we are is HTTP Basic, or a Bearer token that a realm
gives; what is known about a host goes to that host only (contract, section 1.15; CVE-2025-51471).
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from urllib.parse import urlencode, urljoin

import msgspec

from dimora.core.errors import (
    DimoraError,
    Forbidden,
    InvalidModel,
    NotAuthenticated,
    NotFound,
    SourceFailed,
)
from dimora.models.fetching import BlobFetch, FileWanted
from dimora.models.manifests import MANIFEST_LIMIT_BYTES, MANIFEST_TYPE
from dimora.models.names import Name
from dimora.models.network import Answer, Content, Interrupted, Network
from dimora.models.places import place_of
from dimora.storage.blobs import CHUNK_BYTES, BlobStore

OCI_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
DOCKER_LIST_TYPE = "application/vnd.docker.distribution.manifest.list.v2+json"
_ACCEPTED = ", ".join((MANIFEST_TYPE, OCI_MANIFEST_TYPE, OCI_INDEX_TYPE, DOCKER_LIST_TYPE))
_TOKEN_LIMIT_BYTES = 64 << 10
_ANSWER_LIMIT_BYTES = 1 << 20
_UPLOAD_BYTES = 32 << 20
_UPLOAD_TRIES = 4
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

    async def manifest(self, reference: str) -> tuple[bytes, str]:
        """The bytes and media type of a tag's or digest's manifest.

        Raises NotFound, NotAuthenticated, Forbidden, SourceFailed.
        """
        reply = await self._ask(
            "GET",
            f"{self._root}/manifests/{reference}",
            headers={"Accept": _ACCEPTED},
            limit_bytes=MANIFEST_LIMIT_BYTES,
        )
        if reply.status == 404:
            raise NotFound("pull model manifest: file does not exist", code="model_not_found")
        self._expect(reply, 200, "the manifest")
        if reference.startswith("sha256:") and _digest_of(reply.body) != reference:
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

    async def push_blob(self, digest: str, path: Path) -> AsyncGenerator[Uploaded, None]:
        """Send a blob in pieces; a piece that was broken off is sent again.

        Raises NotAuthenticated, Forbidden, SourceFailed, OSError of the disk.
        """
        size = path.stat().st_size  # noqa: ASYNC240 - one small call
        place = f"{self._root}/blobs/uploads/"
        reply = await self._ask("POST", place, content=b"")
        self._expect(reply, 202, "the upload")
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
                self._expect(reply, 202, "a piece of the upload")
                place, sent, tries = self._location(reply, place), end, 0
            except Interrupted:
                tries += 1
                if tries >= _UPLOAD_TRIES:
                    raise
                place, sent = await self._resumed(place)
            yield Uploaded(sent)
        separator = "&" if "?" in place else "?"
        reply = await self._ask(
            "PUT", f"{place}{separator}{urlencode({'digest': digest})}", content=b""
        )
        self._expect(reply, 201, "the end of the upload")

    async def push_manifest(self, reference: str, data: bytes, media_type: str) -> None:
        """Raises NotAuthenticated, Forbidden, SourceFailed."""
        reply = await self._ask(
            "PUT",
            f"{self._root}/manifests/{reference}",
            headers={"Content-Type": media_type},
            content=data,
        )
        self._expect(reply, 201, "the manifest")

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
        """Ask, and ask once more with proof when the registry wants it."""
        for attempt in (1, 2):
            # A registry may hand uploads to another host: our proof is not for that one.
            own = place_of(url) == self._place
            reply = await self._network.read(
                method,
                url,
                headers=headers,
                content=content,
                limit_bytes=limit_bytes,
                insecure=self._insecure,
                authorize=await self._proof() if own else None,
            )
            if reply.status != 401 or attempt == 2 or not own:
                break
            pushing = method not in ("GET", "HEAD") or "/uploads/" in url
            await self._prove(reply.headers.get("WWW-Authenticate", ""), pushing=pushing)
        return reply

    async def _proof(self) -> str | None:
        if self._authorization and time.monotonic() > self._valid_until:
            await self._fetch_token(self._challenge)
        return self._authorization

    async def _prove(self, challenge: str, *, pushing: bool) -> None:
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic":
            self._authorization = self._network.access.authorization_for(self._place.key)
            if not self._authorization:
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
        own = self._network.access.authorization_for(self._place.key)
        if own is not None and own.startswith("Bearer "):
            self._authorization = own
            return
        realm = fields.get("realm", "")
        place = place_of(realm)
        same = place.host == self._place.host
        if place.scheme != "https" and not (same and self._place.scheme == "http"):
            raise Forbidden(
                f"{self._place.host} wants us to prove ourselves without encryption",
                code="insecure_not_allowed",
            )
        query = {name: fields[name] for name in ("service", "scope") if fields.get(name)}
        separator = "&" if "?" in realm else "?"
        reply = await self._network.read(
            "GET",
            f"{realm}{separator}{urlencode(query)}",
            limit_bytes=_TOKEN_LIMIT_BYTES,
            insecure=self._insecure,
            # What we know of the registry is told to the registry alone.
            authorize=own if same else self._network.access.authorization_for(place.key),
        )
        if reply.status != 200:
            raise self._refused()
        try:
            token = msgspec.json.decode(reply.body, type=_Token)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise SourceFailed(f"{place.host} gave no token") from None
        self._authorization = f"Bearer {token.token or token.access_token}"
        lasts = max(token.expires_in, _LEAST_TOKEN_SECONDS) - _SLACK_SECONDS
        self._valid_until = time.monotonic() + lasts

    def _expect(self, reply: Answer, status: int, what: str) -> None:
        if reply.status == status:
            return
        if reply.status in (401, 403):
            raise self._refused()
        raise SourceFailed(f"{self._place.key} answered {reply.status} to {what}")

    def _refused(self) -> DimoraError:
        known = self._place.key in self._network.access.credentials
        return NotAuthenticated(
            f"{self._place.key} does not let us"
            + (" with the credentials we have" if known else " without credentials"),
            hint=f"put user and password for {self._place.key} into registry_credentials",
            code="registry_refuses",
        )


def registry_url(name: Name, text: str, *, insecure: bool) -> str:
    """Where the registry of a name is: as written in `text`, else https unless it is this machine
    or may be `insecure`."""
    scheme, separator, _ = text.partition("://")
    if separator and scheme in ("http", "https"):
        return f"{scheme}://{name.host}"
    plain = insecure or place_of(f"http://{name.host}").is_loopback
    return f"{'http' if plain else 'https'}://{name.host}"


def choose_manifest(data: bytes) -> str:
    """Of an index that lists manifests, the digest of the one for us. Raises InvalidModel."""

    class Row(msgspec.Struct):
        digest: str
        platform: dict[str, object] | None = None

    class Index(msgspec.Struct):
        manifests: list[Row] = []

    try:
        rows = msgspec.json.decode(data, type=Index).manifests
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidModel("the registry's index of manifests is damaged") from None
    if not rows:
        raise InvalidModel("the registry's index of manifests is empty")
    return rows[0].digest


def _digest_of(data: bytes) -> str:
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
