"""Takes a file of this machine into the store, without a second copy of its bytes if it can.

First choice is to share blocks copy-on-write, which only some file systems can. Second is a hard
link, where the owner allows it and both lie on one file system: then the bytes are one, and a later
change of the file would reach into the store. So the file loses its write permission, which keeps
programs from writing into it (replacing it whole does no harm), and a change that happens in spite
of that is found when the model is loaded, since its digest is checked then. Only large weights are
linked: nobody edits those by hand, and small files are not worth it. Third is a copy.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dimora.core.errors import BadRequest, Cancelled, NotFound
from dimora.core.types import Progress
from dimora.storage.blobs import CHUNK_BYTES, BlobStore, BlobWriter, hash_file
from dimora.storage.disk import discard, disk_errors, require_room
from dimora.tasks.base import StoredBlob

if TYPE_CHECKING:
    from dimora.models.store import ModelStore

# Linux: share the blocks of a file until one of the two is changed (ioctl_ficlone(2)).
_FICLONE = 0x40049409
_TELL_SECONDS = 0.2
_LINKED_ENDINGS = (".gguf", ".safetensors", ".onnx", ".data", ".bin")
_LINKED_LEAST_BYTES = 4 << 20


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """A file that lies in the blob store under its digest; `linked`: it is the very same file."""

    digest: str
    size_bytes: int
    linked: bool = False


def take(
    path: Path,
    blobs: BlobStore,
    *,
    link: bool = False,
    note: Callable[[int], None] | None = None,
) -> Taken:
    """Make a blob of the file; blocks while it is read. `link` allows a hard link.

    `note` is told how many bytes were read, again and again.

    Raises NotFound, BadRequest when it is no plain file or changes meanwhile, StorageFull.
    """
    blobs.prepare()
    taken = blobs.scratch_path()
    before, kept = None, False
    with disk_errors("the model store"):
        try:
            real = path.resolve(strict=True)
            before = real.stat()
            if not stat.S_ISREG(before.st_mode):
                raise BadRequest(f"{path.name!r} is not a plain file")
            if not os.access(real, os.R_OK):
                raise BadRequest(f"{path.name!r} cannot be read", hint="check its rights")
            shared = _share(real, taken)
            linked = not shared and link and _link(real, taken, before)
            if shared or linked:
                digest = hash_file(taken, note)
            else:
                require_room(blobs.directory, before.st_size, "the import")
                digest = _copy(real, taken, note)
            after = real.stat()
            if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                raise BadRequest(f"{path.name!r} is being changed", hint="try again when it is not")
            if linked and _is_here(blobs, digest):
                linked = blobs.path(digest).samefile(taken)
            else:
                blobs.adopt(taken, digest)
            kept = linked
        except FileNotFoundError:
            raise NotFound(f"there is no file {path.name!r}", code="file_not_found") from None
        finally:
            if not kept and before is not None:
                _give_back(taken, before)
            discard(taken)
    return Taken(digest=digest, size_bytes=after.st_size, linked=linked)


def _share(path: Path, taken: Path) -> bool:
    if sys.platform != "linux":
        return False
    import fcntl

    with path.open("rb") as source, taken.open("xb") as target:
        try:
            fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
        except OSError:
            pass
        else:
            return True
    taken.unlink()
    return False


def _link(path: Path, taken: Path, state: os.stat_result) -> bool:
    """A second name for the file, which nobody may write into from now on."""
    weights = path.suffix.lower() in _LINKED_ENDINGS and state.st_size >= _LINKED_LEAST_BYTES
    if not weights or os.name != "posix" or state.st_uid != os.geteuid():
        return False
    try:
        os.link(path, taken)
        path.chmod(stat.S_IMODE(state.st_mode) & ~0o222)
    except OSError:
        discard(taken)
        return False
    return True


def _give_back(taken: Path, state: os.stat_result) -> None:
    """Let a file that was linked and is not kept be written again, as before."""
    with contextlib.suppress(OSError):
        there = taken.stat()
        if (there.st_dev, there.st_ino) == (state.st_dev, state.st_ino):
            taken.chmod(stat.S_IMODE(state.st_mode))


def _copy(path: Path, taken: Path, note: Callable[[int], None] | None) -> str:
    """Copy the bytes, and give their digest."""
    with path.open("rb") as source, taken.open("xb") as target:
        writer = BlobWriter(target)
        while data := source.read(CHUNK_BYTES):
            writer.write(data)
            if note is not None:
                note(writer.written_bytes)
    return writer.digest


def _is_here(blobs: BlobStore, digest: str) -> bool:
    """Whether the store has these bytes already, and they are right."""
    with contextlib.suppress(OSError):
        return hash_file(blobs.path(digest)) == digest
    return False


async def take_file(path: Path, store: ModelStore) -> AsyncGenerator[Progress | StoredBlob, None]:
    """`take` for the whole house: Progress while the file is read, then one StoredBlob.

    Raises NotFound, BadRequest, StorageFull.
    """
    size_bytes = await asyncio.to_thread(_size_of, path)
    reading = _Reading()

    def work() -> Taken:
        return take(path, store.blobs, link=store.link_files, note=reading.note)

    job = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        while not job.done():
            await asyncio.wait({job}, timeout=_TELL_SECONDS)
            yield Progress(
                status=f"taking in {path.name}",
                total_bytes=size_bytes,
                completed_bytes=reading.read_bytes,
            )
    finally:
        reading.given_up = True
        await asyncio.wait({job})
        # Looked at, or the event loop would tell at its end that nobody did.
        _ = job.cancelled() or job.exception()
    taken = job.result()
    blob = store.blobs.path(taken.digest)
    await asyncio.to_thread(store.remembered.note_verified, taken.digest, blob)
    yield StoredBlob(digest=taken.digest, size_bytes=taken.size_bytes, linked=taken.linked)


class _Reading:
    """How far a thread is that reads a file, and whether it shall go on."""

    def __init__(self) -> None:
        self.read_bytes = 0
        self.given_up = False

    def note(self, count: int) -> None:
        if self.given_up:
            raise Cancelled("nobody waits for the file any more")
        self.read_bytes = count


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
