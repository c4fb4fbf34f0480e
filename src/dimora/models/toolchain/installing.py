"""Installs the llama.cpp toolchain: fetches the pinned source, unpacks part of it, builds, tries.

What an installation that was broken off left is used by the next: the bytes that came, the tree
that was unpacked, the objects that were compiled. Nothing of the source is run before its sha256
was found right.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import psutil

from dimora.core.errors import InternalError, SourceFailed
from dimora.core.processor import processor_features, usable_cores
from dimora.core.types import Progress
from dimora.models.remote.access import SourceAccess
from dimora.models.remote.downloading import Download
from dimora.models.remote.package_index import FoundFile, Places, find_file, places
from dimora.models.toolchain.building import Build, Failed, Way, find_tools, ways
from dimora.models.toolchain.installed import (
    LOG,
    STAMP,
    Stamp,
    Toolchain,
    find_toolchain,
    installing,
    read_pin,
)
from dimora.models.toolchain.source_archives import unpack
from dimora.models.toolchain.trial import failing_formats
from dimora.storage.blobs import hash_file
from dimora.storage.disk import disk_errors, require_room, write_whole

FAILED = "failed.json"
_PLACE = "the toolchain"
# A compiler of this code may want so much memory for one file.
_COMPILER_BYTES = 1 << 30
# The programs the trial needs come first, and are most of the work.
_FIRST_PROGRAMS = 2
_FIRST_SHARE = 70


class Installation:
    """One run of `ModelStore.install_toolchain`, below `root`; `access` is the way out."""

    def __init__(self, root: Path, access: SourceAccess, *, jobs: int = 0) -> None:
        self._root = root
        self._access = access
        self._pin = read_pin()
        self._version = root / self._pin.version
        self._source = self._version / "source"
        self._log = self._version / LOG
        self._jobs = jobs or _fitting_jobs()
        self._notes: list[str] = []

    async def run(self) -> AsyncGenerator[Progress, None]:
        """Progress; `success` comes last. Percent count as bytes of 100.

        Raises NotFound when a tool is missing, Conflict, SourceFailed, StorageFull, InternalError.
        """
        with disk_errors(_PLACE), installing(self._root) as lock:
            found = await asyncio.to_thread(find_toolchain, self._root)
            if found is None or found.root != self._version:
                started = time.time()
                async with contextlib.aclosing(self._make(started, lock)) as steps:
                    async for progress in steps:
                        yield progress
            yield Progress(status="success")

    async def _make(self, started: float, lock: int) -> AsyncGenerator[Progress, None]:
        tools = await find_tools()
        self._version.mkdir(mode=0o700, exist_ok=True)
        require_room(self._version, self._pin.needed_bytes, _PLACE)
        if not self._source.is_dir():
            async with contextlib.aclosing(self._bring_source()) as steps:
                async for progress in steps:
                    yield progress
        directory = self._version / "build"
        build = Build(tools, self._source, directory, self._log, jobs=self._jobs, lock=lock)
        failed = Failed(self._version / FAILED)
        for way in ways():
            failing = failed.formats_of(way)
            if not failing:
                async with contextlib.aclosing(self._build(build, way)) as steps:
                    async for step in steps:
                        if isinstance(step, Progress):
                            yield step
                        else:
                            failing = step
            if not failing:
                await asyncio.to_thread(self._settle, build, way, started)
                return
            failed.note(way, failing)
            self._notes.append(f"{way.name} fails with {', '.join(failing)} on this processor")
            yield Progress(status=self._notes[-1])
        raise InternalError(
            "the programs were built, but end when they run a model",
            hint=f"toolchain/{self._pin.version}/{LOG} in the home has what they said",
        )

    async def _build(self, build: Build, way: Way) -> AsyncGenerator[Progress | list[str], None]:
        """Build and try in one way: progress, then the formats that fail, last."""
        yield Progress(status="configuring the build")
        await build.configure(way)
        first, rest = self._pin.programs[:_FIRST_PROGRAMS], self._pin.programs[_FIRST_PROGRAMS:]
        async with contextlib.aclosing(build.run(first)) as percents:
            async for percent in percents:
                yield _built(way, percent * _FIRST_SHARE // 100)
        yield Progress(status="trying the programs")
        bench, quantize = (build.program(name) for name in first)
        failing = await failing_formats(bench, quantize, self._log)
        if not failing:
            async with contextlib.aclosing(build.run(rest)) as percents:
                async for percent in percents:
                    yield _built(way, _FIRST_SHARE + percent * (100 - _FIRST_SHARE) // 100)
            yield _built(way, 100)
        yield failing

    async def _bring_source(self) -> AsyncGenerator[Progress, None]:
        pin = self._pin
        yield Progress(status=f"finding {pin.package} {pin.version}")
        where = await places(self._access)
        archive: Path | None = None
        async with contextlib.aclosing(self._fetch(where)) as steps:
            async for step in steps:
                if isinstance(step, Progress):
                    yield step
                else:
                    archive = step
        if archive is None:
            raise SourceFailed(
                f"no index has the {pin.package} {pin.version} that is wanted",
                hint="an index, or something on the way to it, changes files",
            )
        yield Progress(status="unpacking llama.cpp")
        await asyncio.to_thread(self._unpack, archive)
        if archive.parent == self._version:
            archive.unlink(missing_ok=True)

    async def _fetch(self, where: Places) -> AsyncGenerator[Progress | Path, None]:
        """Progress, then the archive with the right sha256, last; no path when none has it."""
        pin = self._pin
        right = f"sha256:{pin.sha256}"
        partial = self._version / "source.tar.gz-partial"
        for offer in await find_file(pin.package, pin.archive_names, where):
            if offer.sha256 not in ("", pin.sha256):
                continue
            if offer.path is not None:
                if await asyncio.to_thread(_hash, offer.path) == right:
                    yield offer.path
                    return
                continue
            async with contextlib.aclosing(self._download(offer, partial, where)) as transfers:
                async for progress in transfers:
                    yield progress
            if await asyncio.to_thread(_hash, partial) == right:
                yield partial
                return
            partial.unlink(missing_ok=True)

    async def _download(
        self, offer: FoundFile, partial: Path, where: Places
    ) -> AsyncGenerator[Progress, None]:
        download = Download(
            offer.url, partial, limit_bytes=self._pin.size_bytes, access=where.access
        )
        async with contextlib.aclosing(download.run()) as transfers:
            async for transfer in transfers:
                yield Progress(
                    status=f"fetching {self._pin.package} {self._pin.version}",
                    completed_bytes=transfer.completed_bytes,
                    total_bytes=self._pin.size_bytes,
                )

    def _unpack(self, archive: Path) -> None:
        """The tree appears under its name when it is whole."""
        pin = self._pin
        unfinished = self._version / "source-unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unpack(
            archive,
            unfinished,
            folder=pin.folder,
            parts=pin.parts,
            limit_bytes=pin.unpacked_limit_bytes,
        )
        unfinished.replace(self._source)

    def _settle(self, build: Build, way: Way, started: float) -> None:
        """Keep the programs and the converters, write the stamp, drop the rest."""
        made = Toolchain(root=self._version, stamp=self._stamp(way, started))
        (self._version / "bin").mkdir(exist_ok=True)
        for name in self._pin.programs:
            build.program(name).replace(made.program(name))
        shutil.rmtree(made.converters, ignore_errors=True)
        made.converters.mkdir()
        for name in self._pin.converters:
            kept = self._source / name
            copy = shutil.copytree if kept.is_dir() else shutil.copy2
            copy(kept, made.converters / name)
        write_whole(self._version / STAMP, msgspec.json.encode(made.stamp))
        for directory in (build.directory, self._source):
            shutil.rmtree(directory, ignore_errors=True)
        (self._version / FAILED).unlink(missing_ok=True)
        for other in self._root.iterdir():
            if other.is_dir() and other != self._version:
                shutil.rmtree(other, ignore_errors=True)

    def _stamp(self, way: Way, started: float) -> Stamp:
        return Stamp(
            version=self._pin.version,
            commit=self._pin.commit,
            processor=processor_features() if way.is_native else "",
            way=way.name,
            notes=tuple(self._notes),
            built_at=time.time(),
            seconds=round(time.time() - started, 1),
        )


def _built(way: Way, percent: int) -> Progress:
    return Progress(
        status=f"building llama.cpp, {way.name}", completed_bytes=percent, total_bytes=100
    )


def _hash(path: Path) -> str:
    try:
        return hash_file(path)
    except OSError:
        return ""


def _fitting_jobs() -> int:
    """As many compilers as there are cores, and memory for."""
    return max(1, min(usable_cores(), psutil.virtual_memory().available // _COMPILER_BYTES))
