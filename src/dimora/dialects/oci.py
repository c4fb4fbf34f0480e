"""The OCI distribution language, the half that reads: `/v2/`, tags, manifests and blobs.

Neighbours pull models of this store with it. Repositories are names of models without their tag:
`library/NAME`, `NAMESPACE/NAME` or `HOST/NAMESPACE/NAME`.
Source: OCI Distribution Specification 1.1 (pull, and listing tags), and the catalogue of the
Docker Registry HTTP API V2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from dimora.core.errors import BadRequest, DimoraError
from dimora.core.types import Event
from dimora.dialects._writing import encode
from dimora.dialects.base import Asked, Fixed, Incoming, Opening, Route
from dimora.tasks.list_models import ListModels, ModelsFound
from dimora.tasks.list_tags import ListTags, TagsFound
from dimora.tasks.read_blob import BlobOpened, BlobPiece, Part, ReadBlob
from dimora.tasks.read_manifest import ManifestFound, ReadManifest

HEADERS = (("Docker-Distribution-Api-Version", "registry/2.0"),)
# A Bearer without a realm to get tokens from stops the clients of this language; they send the key
# as the password of any user. `Authorization: Bearer KEY` is taken all the same.
CHALLENGE = 'Basic realm="dimora", charset="UTF-8"'

JSON = "application/json"
BYTES = "application/octet-stream"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,127}/[\w.+-]{1,127}", re.ASCII)
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_NUMBER = re.compile(r"[0-9]{1,9}")

_CODES = {
    "repository_not_found": "NAME_UNKNOWN",
    "manifest_not_found": "MANIFEST_UNKNOWN",
    "blob_not_found": "BLOB_UNKNOWN",
    "invalid_digest": "DIGEST_INVALID",
    "invalid_model": "MANIFEST_INVALID",
    "invalid_page": "PAGINATION_NUMBER_INVALID",
}
_CODES_BY_STATUS = {
    401: "UNAUTHORIZED",
    403: "DENIED",
    404: "NAME_UNKNOWN",
    413: "SIZE_INVALID",
    429: "TOOMANYREQUESTS",
    503: "TOOMANYREQUESTS",
}


def error(error: DimoraError) -> bytes:
    """`code` is one of the specification's; `detail` has our own and the hint."""
    code = _CODES.get(error.code) or _CODES_BY_STATUS.get(error.status, "UNKNOWN")
    detail = {"code": error.code} | ({"hint": error.hint} if error.hint else {})
    return encode({"errors": [{"code": code, "message": error.message, "detail": detail}]})


NamesOf = Callable[[Event], list[str]]


class Page(NamedTuple):
    """At most `size` entries that come after `last`; all of them without a size."""

    size: int | None
    last: str


def greet(incoming: Incoming) -> Fixed:
    """Says that this language is spoken here, to those who may come in."""
    return Fixed(b"{}")


def decode_catalogue(incoming: Incoming) -> Asked:
    """Raises BadRequest."""
    answer = ListingAnswer("repositories", repositories_of, _read_page(incoming), "/v2/_catalog")
    return Asked(ListModels(), answer)


def decode_tags(incoming: Incoming) -> Asked:
    """Raises BadRequest."""
    name = incoming.path["name"]
    path = f"/v2/{name}/tags/list"
    answer = ListingAnswer("tags", tags_of, _read_page(incoming), path, name=name)
    return Asked(ListTags(model=name), answer)


def decode_manifest(incoming: Incoming) -> Asked:
    request = ReadManifest(model=incoming.path["name"], reference=incoming.path["reference"])
    return Asked(request, ManifestAnswer())


def decode_blob(incoming: Incoming) -> Asked:
    """A range is read of GET only, and passed over when it is more than one, or none."""
    digest = incoming.path["digest"]
    part = _read_range(incoming, digest) if incoming.method == "GET" else None
    request = ReadBlob(
        model=incoming.path["name"],
        digest=digest,
        part=part,
        only_facts=incoming.method == "HEAD",
    )
    return Asked(request, BlobAnswer(ranged=part is not None))


def _read_page(incoming: Incoming) -> Page:
    size = incoming.query.get("n")
    if size is not None and not _NUMBER.fullmatch(size):
        raise BadRequest("n is not a number of entries", param="n", code="invalid_page")
    return Page(None if size is None else int(size), incoming.query.get("last", ""))


def _read_range(incoming: Incoming, digest: str) -> Part | None:
    found = _RANGE.fullmatch(incoming.headers.get("range", ""))
    if found is None or incoming.headers.get("if-range", _etag(digest)) != _etag(digest):
        return None
    first, last = (int(number) if number else None for number in found.groups())
    if last is None:
        return None if first is None else Part(first=first)
    return None if first is not None and first > last else Part(first=first, last=last)


def _etag(digest: str) -> str:
    return f'"{digest}"'


class ListingAnswer:
    """Names in order, a page at a time; `beside` are the other fields of the answer."""

    streaming = False
    media_type = JSON

    def __init__(self, key: str, names_of: NamesOf, page: Page, path: str, **beside: str) -> None:
        self._key = key
        self._names_of = names_of
        self._page = page
        self._path = path
        self._beside = beside

    def opening(self, first: Event) -> Opening:
        """With a link to the next page, if there is one."""
        shown = self._shown(first)
        if not shown or shown[-1] == self._names_of(first)[-1]:
            return Opening()
        link = f'<{self._path}?n={len(shown)}&last={shown[-1]}>; rel="next"'
        return Opening(headers=(("Link", link),))

    def frame(self, event: Event) -> bytes:
        return b""

    def refusal(self, error_: DimoraError) -> bytes:
        return error(error_)

    def failure(self, error_: DimoraError) -> bytes:
        return error(error_)

    def whole(self, events: Sequence[Event]) -> bytes:
        return encode({**self._beside, self._key: self._shown(events[0])})

    def _shown(self, event: Event) -> list[str]:
        names = self._names_of(event)
        return [name for name in names if name > self._page.last][: self._page.size]


def repositories_of(event: Event) -> list[str]:
    """In order; `library` goes without saying in lists of models, and not here."""
    models = event.models if isinstance(event, ModelsFound) else ()
    names = {model.name.rpartition(":")[0] for model in models}
    return sorted(name if "/" in name else f"library/{name}" for name in names)


def tags_of(event: Event) -> list[str]:
    return list(event.tags) if isinstance(event, TagsFound) else []


class ManifestAnswer:
    """The bytes of a manifest, under its own media type."""

    streaming = True
    media_type = _MANIFEST

    def opening(self, first: Event) -> Opening:
        if not isinstance(first, ManifestFound):
            return Opening()
        found = first.manifest
        return Opening(
            # Somebody else wrote it: it must be fit for a header.
            media_type=found.media_type if _MEDIA_TYPE.fullmatch(found.media_type) else _MANIFEST,
            length_bytes=len(found.data),
            headers=(("Docker-Content-Digest", found.digest), ("ETag", _etag(found.digest))),
        )

    def frame(self, event: Event) -> bytes:
        return event.manifest.data if isinstance(event, ManifestFound) else b""

    def refusal(self, error_: DimoraError) -> bytes:
        return error(error_)

    def failure(self, error_: DimoraError) -> bytes:
        """Nothing: the length was told, and the caller sees that it is not reached."""
        return b""

    def whole(self, events: Sequence[Event]) -> bytes:
        return b"".join(self.frame(event) for event in events)


class BlobAnswer(ManifestAnswer):
    """The bytes of a blob, or of a range of it."""

    media_type = BYTES

    def __init__(self, *, ranged: bool) -> None:
        self._ranged = ranged

    def opening(self, first: Event) -> Opening:
        if not isinstance(first, BlobOpened):
            return Opening()
        headers = [
            ("Docker-Content-Digest", first.digest),
            ("ETag", _etag(first.digest)),
            ("Accept-Ranges", "bytes"),
        ]
        if first.outside:
            headers.append(("Content-Range", f"bytes */{first.size_bytes}"))
            return Opening(status=416, length_bytes=0, headers=tuple(headers))
        if self._ranged:
            span = f"bytes {first.start}-{first.end - 1}/{first.size_bytes}"
            headers.append(("Content-Range", span))
        return Opening(
            status=206 if self._ranged else 200,
            length_bytes=first.end - first.start,
            headers=tuple(headers),
        )

    def frame(self, event: Event) -> bytes:
        return event.data if isinstance(event, BlobPiece) else b""


_READ = ("GET", "HEAD")
_BLOB_HEADERS = ("range", "if-range")

ROUTES = (
    Route(_READ, "/v2/", greet),
    Route(_READ, "/v2/_catalog", decode_catalogue),
    Route(_READ, "/v2/{name:path}/tags/list", decode_tags),
    Route(_READ, "/v2/{name:path}/manifests/{reference}", decode_manifest),
    Route(_READ, "/v2/{name:path}/blobs/{digest}", decode_blob, headers=_BLOB_HEADERS),
)
