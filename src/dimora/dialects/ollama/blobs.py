"""`/api/blobs/{digest}`: files for models that are going to be created."""

from __future__ import annotations

from collections.abc import Sequence

from dimora.core.errors import DimoraError
from dimora.core.types import Event
from dimora.dialects._writing import find_event
from dimora.dialects.base import Asked, Incoming
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
    request = StoreBlob(digest=digest, size_bytes=incoming.length_bytes)
    return Asked(request, BlobAnswer(_say_nothing), _status)


class BlobAnswer(OneObject):
    """An answer without words. That a blob is not here is told as it is."""

    def refusal(self, error: DimoraError) -> bytes:
        return words.error(error)


def _digest(incoming: Incoming) -> str:
    """As we write it; upstream takes `sha256-` and capitals as well."""
    return incoming.path.get("digest", "").lower().replace("sha256-", "sha256:", 1)


def _status(events: Sequence[Event]) -> int:
    stored = find_event(events, BlobStored)
    return 201 if stored is not None and stored.created else 200


def _say_nothing(events: Sequence[Event]) -> bytes:
    return b""
