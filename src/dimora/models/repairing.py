"""Verifies models and mends them: what is damaged or missing is fetched again, by its digest.

Names keep meaning what they mean: a source that has another version of a model by now does not
change it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from dimora.core.errors import ConfigurationError, DimoraError, SourceFailed, StorageFull
from dimora.core.types import Progress
from dimora.models.catalogue import Entry, HubFile, PythonPackage
from dimora.models.converting.stepping import in_threads
from dimora.models.manifests import TEXT_LIMIT_BYTES, Layer
from dimora.models.names import Name, parse_name
from dimora.models.sources import SHELF
from dimora.models.sources.base import Brought, Source, Wanted
from dimora.models.verifying import Found, Verification
from dimora.storage.disk import disk_errors
from dimora.tasks.keeping import Fault, StoreTold

if TYPE_CHECKING:
    from dimora.models.store import ModelStore


async def verify(
    store: ModelStore, names: Sequence[str], *, repair: bool
) -> AsyncGenerator[Progress | Fault | StoreTold, None]:
    """See tasks.base.Models.verify."""
    looking = Verification(store)
    for name in await asyncio.to_thread(looking.names, names):
        found = Found(name=name)
        async with contextlib.aclosing(in_threads(looking.look_at(name))) as looks:
            async for look in looks:
                if isinstance(look, Found):
                    found = look
                else:
                    yield look
        if repair and found.faults:
            async with contextlib.aclosing(Mending(store, looking).run(found)) as steps:
                async for step in steps:
                    yield step
        else:
            for fault in found.faults:
                yield fault
    told = looking.told
    if not names:
        told = await asyncio.to_thread(_tell_unneeded, store, told, repair)
    yield told


def _tell_unneeded(store: ModelStore, told: StoreTold, repair: bool) -> StoreTold:
    """With the files no model needs, which are removed first if that is asked for."""
    removed = store.sweep() if repair else 0
    unneeded = store.unneeded()
    return msgspec.structs.replace(
        told,
        unneeded_files=len(unneeded),
        unneeded_bytes=sum(unneeded.values()),
        removed_files=removed,
    )


class Mending:
    """Mends one model as far as it can, and tells its faults again."""

    def __init__(self, store: ModelStore, looking: Verification) -> None:
        self._store = store
        self._looking = looking
        self._why_not = "no source has it"

    async def run(self, found: Found) -> AsyncGenerator[Progress | Fault, None]:
        """Progress, then every fault with what became of it. Raises StorageFull,
        ConfigurationError where nothing can be written."""
        for layer in found.wrong:
            async with contextlib.aclosing(self._bring(layer, found)) as steps:
                async for step in steps:
                    yield step
        left = await self._look_again(found.name)
        if left.faults and self._is_whole_in_catalogue(found):
            async with contextlib.aclosing(self._pull_again(found.name)) as steps:
                async for step in steps:
                    yield step
            left = await self._look_again(found.name)
        still = {(fault.kind, fault.digest) for fault in left.faults}
        for fault in found.faults:
            mended = (fault.kind, fault.digest) not in still
            why_not = "" if mended else self._why_not
            yield msgspec.structs.replace(fault, mended=mended, why_not=why_not)

    async def _look_again(self, name: Name) -> Found:
        found = Found(name=name)
        async with contextlib.aclosing(in_threads(self._looking.look_at(name))) as steps:
            async for step in steps:
                if isinstance(step, Found):
                    found = step
        return found

    def _is_whole_in_catalogue(self, found: Found) -> bool:
        """Whether pulling the name makes this very model, and not only its file."""
        if self._store.catalogue.pinned(found.name) is None:
            return False
        layers = found.manifest.layers if found.manifest else ()
        return all(layer.kind in ("model", "license") for layer in layers)

    async def _pull_again(self, name: Name) -> AsyncGenerator[Progress, None]:
        digests = await asyncio.to_thread(self._store.digests_of, name)
        with self._telling_why():
            async with contextlib.aclosing(self._store.pull(name.display)) as steps:
                async for step in steps:
                    if step.status != "success":
                        yield step
        for digest in digests:
            self._looking.forget(digest)

    async def _bring(self, layer: Layer, found: Found) -> AsyncGenerator[Progress, None]:
        """Ask every source that may have this blob, until one did."""
        store, digest = self._store, layer.digest
        if await asyncio.to_thread(store.verify_blob, digest):
            self._looking.forget(digest)
            return
        with self._aside(digest):
            for wanted, source in await asyncio.to_thread(self._places, digest, found.name):
                give = getattr(source, "fetch_blob", None)
                giving = (
                    give(wanted, layer, store)
                    if give is not None
                    else _fetch(store, wanted, source, found)
                )
                with self._telling_why():
                    async with contextlib.aclosing(giving) as steps:
                        async for step in steps:
                            yield step
                if await asyncio.to_thread(store.verify_blob, digest):
                    break
        self._looking.forget(digest)

    def _places(self, digest: str, name: Name) -> list[tuple[Wanted, Source]]:
        """Models that have this blob: of the catalogue, then by the names in the store."""
        wanted = [
            Wanted(text=entry.name, name=known, entry=entry)
            for entry in self._store.catalogue.all()
            if _has(entry, digest) and (known := parse_name(entry.name)) is not None
        ]
        names = [name]
        for other in self._store.manifests.names():
            if other != name and digest in self._store.digests_of(other):
                names.append(other)
        for known in names:
            entry = self._store.catalogue.pinned(known)
            wanted.append(Wanted(text=known.display, name=known, entry=entry))
        found = [(one, _source_of(one)) for one in wanted]
        return [(one, source) for one, source in found if source is not None]

    @contextlib.contextmanager
    def _aside(self, digest: str) -> Iterator[None]:
        """Put the wrong bytes away, so that no source takes them for right ones; and back again
        if no better ones came."""
        blobs = self._store.blobs
        aside = blobs.scratch_path()
        with disk_errors("the model store"):
            with contextlib.suppress(FileNotFoundError):
                blobs.path(digest).rename(aside)
            try:
                yield
            finally:
                if aside.exists():
                    if blobs.size_of(digest) is None:
                        aside.rename(blobs.path(digest))
                    else:
                        aside.unlink()

    @contextlib.contextmanager
    def _telling_why(self) -> Iterator[None]:
        """What a source says against it is told with the fault; the next one may do better."""
        try:
            yield
        except (StorageFull, ConfigurationError):
            raise
        except DimoraError as why:
            self._why_not = why.message


async def _fetch(
    store: ModelStore, wanted: Wanted, source: Source, found: Found
) -> AsyncGenerator[Progress, None]:
    """Fetch the files of a model without changing what its name means here.

    Ends early when the source has another version by now: nobody asked for its files.
    """
    known = found.manifest.digests if found.manifest else set()
    brought: tuple[Layer, ...] = ()
    async with contextlib.aclosing(source.fetch(wanted, store)) as steps:
        async for step in steps:
            if isinstance(step, Brought):
                brought = step.layers
            elif step.digest not in known and step.total_bytes > TEXT_LIMIT_BYTES:
                raise SourceFailed(f"{wanted.name.host} has another version of it by now")
            else:
                yield step
    await asyncio.to_thread(store.drop_unreferenced, {layer.digest for layer in brought})


def _has(entry: Entry, digest: str) -> bool:
    place = entry.place
    if isinstance(place, PythonPackage):
        return place.model_digest == digest
    return isinstance(place, HubFile) and f"sha256:{place.sha256}" == digest


def _source_of(wanted: Wanted) -> Source | None:
    return next((source for source in SHELF.all().values() if source.accepts(wanted)), None)
