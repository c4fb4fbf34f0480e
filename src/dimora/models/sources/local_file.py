"""Takes a GGUF file of this machine into the store: shares its bytes if it can, else copies."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

from dimora.core.errors import NotFound
from dimora.core.types import Progress
from dimora.models.catalogue import Entry
from dimora.models.sources.base import Fetched
from dimora.storage.blobs import BlobStore, hash_file
from dimora.storage.disk import disk_errors, require_room

# Linux: share the blocks of a file until one of the two is changed (ioctl_ficlone(2)).
_FICLONE = 0x40049409


def accepts(name: str, entry: Entry | None) -> bool:
    """Whether the name is the path of a GGUF file; only for callers who may name files."""
    return entry is None and name.lower().endswith(".gguf") and Path(name).expanduser().is_file()


async def fetch(
    name: str, entry: Entry | None, blobs: BlobStore
) -> AsyncGenerator[Progress | Fetched, None]:
    """Raises NotFound, StorageFull."""
    fetched = await asyncio.to_thread(_take_named, name, blobs)
    yield Progress(
        status=f"pulling {fetched.digest[7:19]}",
        digest=fetched.digest,
        total_bytes=fetched.size_bytes,
        completed_bytes=fetched.size_bytes,
    )
    yield fetched


def take(path: Path, blobs: BlobStore) -> Fetched:
    """Make a blob of the file; blocks while it is read. Raises NotFound, StorageFull.

    The bytes are shared copy-on-write where the file system can, and copied where it cannot;
    a hard link would let a later change of the file reach into the store.
    """
    blobs.prepare()
    taken = blobs.directory / f"tmp-{os.getpid()}-{os.urandom(6).hex()}"
    with disk_errors("the model store"):
        try:
            if not _share(path, taken):
                require_room(blobs.directory, path.stat().st_size, "the import")
                shutil.copyfile(path, taken)
            digest = hash_file(taken)
            size = taken.stat().st_size
            blobs.adopt(taken, digest)
        except FileNotFoundError:
            raise NotFound(f"there is no file {path.name!r}", code="model_not_found") from None
        finally:
            taken.unlink(missing_ok=True)
    return Fetched(digest=digest, size_bytes=size)


def _take_named(name: str, blobs: BlobStore) -> Fetched:
    return take(Path(name).expanduser(), blobs)


def _share(path: Path, taken: Path) -> bool:
    if sys.platform != "linux":
        return False
    import fcntl

    with path.open("rb") as source, taken.open("xb") as target:
        try:
            fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
        except OSError:
            return False
    return True
