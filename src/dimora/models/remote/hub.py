"""Asks a Hugging Face hub, or a mirror of one: which files a repository has, and their bytes.

Files are asked for at the commit the list was of, so that they belong together.
Source: the hub's HTTP API, `/api/models/{repository}/revision/{revision}` and
`/{repository}/resolve/{commit}/{file}`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from urllib.parse import quote

import msgspec

from dimora.core.errors import DimoraError, NotFound, SourceFailed
from dimora.core.json_text import BAD_JSON
from dimora.core.types import Progress
from dimora.models.names import is_relative_path
from dimora.models.remote.fetching import BlobFetch, Challenged, FileWanted
from dimora.models.remote.hub_choice import HubFile
from dimora.models.remote.network import Answer, Network, Refused
from dimora.models.remote.places import place_of
from dimora.models.taking import Taken
from dimora.storage.blobs import BlobStore

_REVISION = "main"
_LIST_LIMIT_BYTES = 16 << 20
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class _Large(msgspec.Struct):
    """How a large file is known: by the digest of its bytes."""

    sha256: str = ""
    oid: str = ""
    size: int | None = None


class _Sibling(msgspec.Struct):
    rfilename: str
    size: int | None = None
    lfs: _Large | None = None


class _Told(msgspec.Struct, rename={"card": "cardData"}):
    """What the hub says of a repository. `card` is the front matter of its README: anything."""

    sha: str
    siblings: list[_Sibling]
    gated: bool | str = False
    private: bool = False
    card: object = None


class Repository(msgspec.Struct, frozen=True, kw_only=True):
    """A repository at one commit. `license` is in its owner's words, as is `license_url`."""

    name: str
    commit: str
    files: tuple[HubFile, ...]
    is_gated: bool = False
    license: str = ""
    license_url: str = ""


class Hub:
    """One hub. What it is shown is for its own host; files may come from others it sends us to."""

    def __init__(self, network: Network, endpoint: str, *, insecure: bool = False) -> None:
        self._network = network
        self._endpoint = endpoint
        # Who writes http:// into the settings means it.
        self._insecure = insecure or endpoint.startswith("http://")
        self._place = place_of(endpoint)
        self._authorization = network.access.authorization_for(self._place.key)

    @property
    def host(self) -> str:
        return self._place.key

    async def look_up(self, name: str) -> Repository:
        """Raises NotFound, Refused, SourceFailed."""
        url = f"{self._endpoint}/api/models/{name}/revision/{_REVISION}?blobs=true"
        reply = await self._read(url, _LIST_LIMIT_BYTES)
        if reply.status != 200:
            raise self._refusal(reply.status, name)
        try:
            told = msgspec.json.decode(reply.body, type=_Told)
        except BAD_JSON:
            raise SourceFailed(f"{self.host} does not answer like a hub") from None
        if not _COMMIT.fullmatch(told.sha):
            raise SourceFailed(f"{self.host} does not say which commit of {name} it means")
        license_, url = _license_of(told.card)
        return Repository(
            name=name,
            commit=told.sha,
            files=tuple(_file_of(s) for s in told.siblings if is_relative_path(s.rfilename)),
            is_gated=bool(told.gated),
            license=license_,
            license_url=url,
        )

    async def fetch(
        self, repository: Repository, file: HubFile, blobs: BlobStore
    ) -> AsyncGenerator[Progress | Taken, None]:
        """A file on its way into the store, checked against the digest the hub tells. Where it
        tells none, only the size is known before: the digest is then that of the bytes that came.

        Raises NotFound, Refused, SourceFailed, StorageFull.
        """
        url = self._url(repository, file)
        if not file.size_bytes:
            file = await self._measured(repository, file)
        key = hashlib.sha256(url.encode()).hexdigest()
        wanted = FileWanted(
            url=url,
            size_bytes=file.size_bytes,
            digest=file.digest,
            key=f"sha256:{key}",
            insecure=self._insecure,
        )
        fetch = BlobFetch(self._network, wanted, blobs, proof=self._proof)
        try:
            async with aclosing(fetch.run()) as steps:
                async for step in steps:
                    yield step
        except Refused:
            raise self._refusal(403, repository.name, repository) from None

    async def read(self, repository: Repository, file: HubFile, *, limit_bytes: int) -> bytes:
        """A small file. Raises NotFound, Refused, SourceFailed."""
        reply = await self._read(self._url(repository, file), limit_bytes)
        if reply.status != 200:
            raise self._refusal(reply.status, repository.name, repository)
        return reply.body

    async def _measured(self, repository: Repository, file: HubFile) -> HubFile:
        """With its size, which some mirrors leave out of their lists."""
        reply = await self._read(self._url(repository, file), 0, method="HEAD")
        length = reply.headers.get("Content-Length", "")
        if reply.status != 200:
            raise self._refusal(reply.status, repository.name, repository)
        if not length.isdecimal() or len(length) > 18:
            raise SourceFailed(f"{self.host} does not say how large {file.name} is")
        return msgspec.structs.replace(file, size_bytes=int(length))

    async def _read(self, url: str, limit_bytes: int, *, method: str = "GET") -> Answer:
        return await self._network.read(
            method,
            url,
            limit_bytes=limit_bytes,
            insecure=self._insecure,
            authorize=self._authorization,
        )

    async def _proof(self, _refusal: Challenged | None) -> str | None:
        """The token of the settings is all there is to show, refused or not."""
        return self._authorization

    def _url(self, repository: Repository, file: HubFile) -> str:
        return f"{self._endpoint}/{repository.name}/resolve/{repository.commit}/{quote(file.name)}"

    def _refusal(self, status: int, name: str, repository: Repository | None = None) -> DimoraError:
        """What a status that is not 200 means, and what to do about it."""
        if repository is not None and repository.is_gated and status in (401, 403):
            return self._gated(name)
        if status == 401 and self._authorization is None:
            return Refused(
                f"{self.host} has no repository {name} that may be read without a token",
                hint="check the name; if it is private, set hub_token (DIMORA_HUB_TOKEN)",
            )
        if status == 401:
            return Refused(
                f"{self.host} does not accept the token",
                hint="set hub_token (DIMORA_HUB_TOKEN) to a token of that hub that may read",
            )
        if status == 403:
            return self._gated(name)
        if status == 404:
            return NotFound(
                "pull model manifest: file does not exist",
                code="model_not_found",
                hint=f"{self.host} has no repository {name}, or the token may not see it",
            )
        return SourceFailed(f"{self.host} answered {status}", hint="try again later")

    def _gated(self, name: str) -> DimoraError:
        """Who has a token has not accepted the terms; who has none has to do both."""
        if self._authorization is None:
            return Refused(
                f"{name} is only for those who accept its licence on {self.host}",
                hint=f"accept it at {self._endpoint}/{name}, then set hub_token"
                " (DIMORA_HUB_TOKEN) to a token of yours",
            )
        return Refused(
            f"{self.host} does not let the holder of the token read {name}",
            hint=f"accept its licence at {self._endpoint}/{name}, and let the token read it",
        )


def _file_of(told: _Sibling) -> HubFile:
    digest = (told.lfs.sha256 or told.lfs.oid).lower() if told.lfs else ""
    size = told.lfs.size if told.lfs and told.lfs.size else told.size
    return HubFile(
        name=told.rfilename,
        size_bytes=max(size or 0, 0),
        digest=f"sha256:{digest}" if _SHA256.fullmatch(digest) else "",
    )


def _license_of(card: object) -> tuple[str, str]:
    """The licence and where it is read; `other` stands for one that has a name of its own."""
    if not isinstance(card, dict):
        return "", ""
    said = card.get("license")
    words = said if isinstance(said, list) else [said]
    license_ = ", ".join(word for word in words if isinstance(word, str))
    name, url = card.get("license_name"), card.get("license_link")
    if license_.lower() in ("", "other") and isinstance(name, str):
        license_ = name
    return license_, url if isinstance(url, str) else ""
