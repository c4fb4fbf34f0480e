"""What a source offers: it accepts some names, and fetches the file of one as a blob."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

import msgspec

from dimora.core.types import Progress
from dimora.models.catalogue import Entry
from dimora.storage.blobs import BlobStore


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """A file that came and was checked; it lies in the blob store under its digest."""

    digest: str
    size_bytes: int


class Source(Protocol):
    """The shape of a source's file."""

    def accepts(self, name: str, entry: Entry | None) -> bool:
        """Whether this source has the model; `entry` is the catalogue's, if it has one."""

    def fetch(
        self, name: str, entry: Entry | None, blobs: BlobStore
    ) -> AsyncGenerator[Progress | Fetched, None]:
        """Progress while bytes come, then one Fetched, last.

        May be ended at any point and begun again later, also by another process.
        Raises SourceFailed, StorageFull, InvalidModel.
        """
