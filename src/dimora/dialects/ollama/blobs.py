"""`/api/blobs/{digest}`: files for models that are going to be created."""

from __future__ import annotations

from collections.abc import Sequence

from dimora.core.errors import DimoraError
from dimora.core.types import Event
from dimora.dialects.base import Asked, Incoming, Opening
from dimora.dialects.ollama import words
from dimora.dialects.ollama.answers import OneObject
from dimora.tasks.find_blob import FindBlob
from dimora.tasks.store_blob import BlobStored, StoreBlob


def decode_blob(incoming: Incoming) -> Asked:
    """HEAD asks whether the file is here: 200 or 404, 400 for what is no digest.

    POST brings it: 201 when it is new, 200 when it was here, 400 when it has another digest.
    """
    digest = _digest(incoming)
    if incoming.method == "HEAD":
        return Asked(FindBlob(digest=digest), BlobAnswer(_say_nothing))
    length = incoming.headers.get("content-length", "")
    size_bytes = int(length) if length.isdecimal() and len(length) < 20 else None
    return Asked(StoreBlob(digest=digest, size_bytes=size_bytes), BlobAnswer(_say_nothing))


class BlobAnswer(OneObject):
    """An answer without words. That a blob is not here is told as it is."""

    def opening(self, first: Event) -> Opening:
        return Opening(status=201 if isinstance(first, BlobStored) and first.created else 200)

    def refusal(self, error: DimoraError) -> bytes:
        return words.error(error)


def _digest(incoming: Incoming) -> str:
    """As we write it; upstream takes `sha256-` and capitals as well."""
    return incoming.path.get("digest", "").lower().replace("sha256-", "sha256:", 1)


def _say_nothing(events: Sequence[Event]) -> bytes:
    return b""
