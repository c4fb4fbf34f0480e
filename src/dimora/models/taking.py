"""Takes a file of this machine into the store: shares its bytes if it can, else copies."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

import msgspec

from dimora.core.errors import BadRequest, NotFound
from dimora.storage.blobs import BlobStore, hash_file
from dimora.storage.disk import disk_errors, require_room

# Linux: share the blocks of a file until one of the two is changed (ioctl_ficlone(2)).
_FICLONE = 0x40049409


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """A file that lies in the blob store under its digest."""

    digest: str
    size_bytes: int


def take(path: Path, blobs: BlobStore) -> Taken:
    """Make a blob of the file; blocks while it is read.

    The bytes are shared copy-on-write where the file system can, and copied where it cannot.

    Raises NotFound, BadRequest when it is no plain file, StorageFull.
    """
    blobs.prepare()
    taken = blobs.directory / f"tmp-{os.getpid()}-{os.urandom(6).hex()}"
    with disk_errors("the model store"):
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise BadRequest(f"{path.name!r} is not a plain file")
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
    return Taken(digest=digest, size_bytes=size)


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
