"""Takes a GGUF file of this machine into the store; no second copy where the disk can share one.

Only for callers who may name files: a server gives no such name to this source.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from dimora.core.types import Progress
from dimora.models.names import path_of
from dimora.models.sources.base import Brought, Wanted
from dimora.models.taking import Taken, take

if TYPE_CHECKING:
    from dimora.models.store import ModelStore


def accepts(wanted: Wanted) -> bool:
    """Whether the name is the path of a file."""
    return wanted.is_file


async def fetch(wanted: Wanted, store: ModelStore) -> AsyncGenerator[Progress | Brought, None]:
    """Raises NotFound, InvalidModel, StorageFull."""
    taken = await asyncio.to_thread(_take, wanted, store)
    path = store.blobs.path(taken.digest)
    await asyncio.to_thread(store.remembered.note_verified, taken.digest, path)
    yield Progress(
        status=f"pulling {taken.digest[7:19]}",
        digest=taken.digest,
        total_bytes=taken.size_bytes,
        completed_bytes=taken.size_bytes,
    )
    weights = store.writer.layer("model", taken.digest, taken.size_bytes)
    yield Brought(layers=(weights,))


def _take(wanted: Wanted, store: ModelStore) -> Taken:
    path = path_of(wanted.text)
    store.find_file(path)
    return take(path, store.blobs, link=store.link_files)
