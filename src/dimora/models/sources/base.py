"""What a source offers: it accepts some names, and brings the model of one into the store."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Protocol

import msgspec

from dimora.core.types import Progress
from dimora.models.catalogue import Entry
from dimora.models.manifests import Layer
from dimora.models.names import Name
from dimora.tasks.base import EmbeddingHabits

if TYPE_CHECKING:
    from dimora.models.store import ModelStore


# Names of these hosts are repositories of files, looked up at the hub's endpoint.
HUB_HOSTS = frozenset({"hf.co", "huggingface.co"})


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody asked for: `text` is how they wrote it, `name` what it will be called here.

    `entry` is the catalogue's for a model it pins to a package; every other name means what it
    means at its source. `insecure` allows a registry without encryption.
    `is_file` is set for the path of a file, from somebody who may name one.
    """

    text: str
    name: Name
    entry: Entry | None = None
    insecure: bool = False
    is_file: bool = False


class Brought(msgspec.Struct, frozen=True, kw_only=True):
    """A model that came. All its blobs are in the store, and were hashed after they came.

    `manifest` are the exact bytes of a manifest that is kept as it is; without them one is written
    of `layers` and `embedding`.
    """

    layers: tuple[Layer, ...]
    manifest: bytes = b""
    embedding: EmbeddingHabits = EmbeddingHabits()


class Source(Protocol):
    """The shape of a source's file.

    One that can give a single file by its digest has a function more, by which models are mended:
    `fetch_blob(wanted, layer, store)` yields Progress, and the blob is in the store then. It raises
    what `fetch` raises.
    """

    def accepts(self, wanted: Wanted) -> bool:
        """Whether this source has such models; exactly one source accepts each name."""

    def fetch(self, wanted: Wanted, store: ModelStore) -> AsyncGenerator[Progress | Brought, None]:
        """Progress while bytes come, then one Brought, last.

        May be ended at any point and begun again later, also by another process.
        Raises NotFound, SourceFailed, Forbidden, StorageFull, InvalidModel.
        """
