"""Fetches a large file into the blob store: several ranges at a time, resumable by anyone.

While it comes it lies in `<blob>-partial`, and `<blob>-partial.parts` says which bytes are there.
A file whose digest is known is checked against it, another one is given the digest it has.
Ollama keeps records of its own in `<blob>-partial-*`, so ours must not be called like that.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable

import httpx2
import msgspec

from dimora.core.errors import NotFound, SourceFailed
from dimora.core.json_text import BAD_JSON
from dimora.core.types import Progress
from dimora.models.remote.network import AGAIN, STALL_SECONDS, Interrupted, Network, Refused
from dimora.models.remote.places import place_of
from dimora.models.taking import Taken
from dimora.storage.blobs import BlobStore, hash_file
from dimora.storage.disk import disk_errors, require_room, settle_file, write_all, write_whole
from dimora.storage.locks import FileLock

_PLACE = "the model store"
_STREAMS = 4
_LEAST_PART_BYTES = 8 << 20
_PARTS = 16
# Tries in a row that bring not one byte.
_TRIES = 6
_WAIT_SECONDS = 0.2
_REPORT_SECONDS = 0.06
# What a kill may cost again, at least; a note waits for the disk, and all else waits for the note.
_NOTE_BYTES = 4 << 20
_NOTE_SECONDS = 0.5
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class Challenged(Exception):
    """The server wants proof, or another than was `shown`; `challenge` says of what kind."""

    def __init__(self, challenge: str, shown: str | None) -> None:
        super().__init__()
        self.challenge = challenge
        self.shown = shown


# Gives the Authorization header; it is told how the last one was refused, if it was.
Proof = Callable[[Challenged | None], Awaitable[str | None]]


class FileWanted(msgspec.Struct, frozen=True, kw_only=True):
    """Where a file is: `digest` is what its bytes must be, empty where nobody says.

    `key` names it while it comes and has the form of a digest; it is the digest where there is one.
    """

    url: str
    size_bytes: int
    digest: str = ""
    key: str = ""
    insecure: bool = False

    @property
    def name(self) -> str:
        return self.digest or self.key


class _Part(msgspec.Struct):
    """Bytes from `start` to `end` (not in it), of which the first `completed` are here."""

    start: int
    end: int
    completed: int = 0


class _Record(msgspec.Struct, kw_only=True):
    size_bytes: int
    parts: list[_Part]


class _WholeOnly(Exception):
    """The server does not know ranges: it sends everything or nothing."""


class BlobFetch:
    """One file on its way into the store. `proof` gives the Authorization of each request."""

    def __init__(
        self,
        network: Network,
        wanted: FileWanted,
        blobs: BlobStore,
        *,
        proof: Proof | None = None,
        pause_seconds: float = 0.5,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self._network = network
        self._wanted = wanted
        self._blobs = blobs
        self._proof = proof
        self._pause_seconds = pause_seconds
        self._stall_seconds = stall_seconds
        self._partial = blobs.partial_path(wanted.name)
        self._record_path = self._partial.with_name(f"{self._partial.name}.parts")
        self._record = _Record(size_bytes=wanted.size_bytes, parts=[])
        self._noted = 0
        self._noted_at = 0.0
        self._lost = False

    async def run(self) -> AsyncGenerator[Progress | Taken, None]:
        """Progress while bytes come, then the Taken, last. Others who want it wait and share it.

        Raises NotFound, Refused, Forbidden, SourceFailed, StorageFull.
        """
        self._blobs.prepare()
        lock = FileLock(self._blobs.lock_path(self._wanted.name))
        with disk_errors(_PLACE):
            while not lock.try_acquire():
                yield self._progress(self._size_here())
                await asyncio.sleep(_WAIT_SECONDS)
            try:
                taken = await asyncio.to_thread(self._is_here)
                if taken is None:
                    async with contextlib.aclosing(self._bring()) as steps:
                        async for step in steps:
                            if isinstance(step, Taken):
                                taken = step
                            else:
                                yield step
            finally:
                lock.release(remove=True)
        if taken is None:
            raise SourceFailed("the file did not come")
        yield self._progress(taken.size_bytes)
        yield taken

    async def _bring(self) -> AsyncGenerator[Progress | Taken, None]:
        # A resumed file that turns out wrong is begun anew, once.
        for attempt in (1, 2):
            resumed = await asyncio.to_thread(self._open)
            async with contextlib.aclosing(self._fetch_parts()) as steps:
                async for progress in steps:
                    yield progress
            digest = await asyncio.to_thread(hash_file, self._partial)
            size = self._size_here()
            if digest == (self._wanted.digest or digest) and size == self._wanted.size_bytes:
                await asyncio.to_thread(self._finish, digest)
                yield Taken(digest=digest, size_bytes=size)
                return
            await asyncio.to_thread(self._forget)
            if attempt == 2 or not resumed:
                raise SourceFailed(
                    f"digest mismatch, expected {self._wanted.digest}, got {digest}",
                    hint="the registry, or something on the way to it, changes files",
                )

    def _is_here(self) -> Taken | None:
        """The blob, complete and right; it is read anew, and removed when it is damaged."""
        digest = self._wanted.digest
        if not digest or self._blobs.size_of(digest) is None:
            return None
        if hash_file(self._blobs.path(digest)) != digest:
            self._blobs.remove(digest)
            return None
        self._blobs.touch(digest)
        # A kill may have come between the name and this.
        self._forget()
        return Taken(digest=digest, size_bytes=self._wanted.size_bytes)

    def _open(self) -> bool:
        """Read what an earlier try left, or begin; True when there was something."""
        size = self._wanted.size_bytes
        with contextlib.suppress(OSError, *BAD_JSON):
            record = msgspec.json.decode(self._record_path.read_bytes(), type=_Record)
            if self._partial.exists() and _covers(record, size):
                self._record = record
                self._noted = self._completed()
                return self._noted > 0
        require_room(self._blobs.directory, size, _PLACE)
        step = max(_LEAST_PART_BYTES, -(-size // _PARTS))
        self._record = _Record(
            size_bytes=size,
            parts=[_Part(at, min(at + step, size)) for at in range(0, size, step)],
        )
        self._partial.unlink(missing_ok=True)
        # What Ollama, or we before, noted of the bytes that went just now.
        for old in self._blobs.directory.glob(f"{self._partial.name}-*"):
            old.unlink(missing_ok=True)
        self._partial.touch(mode=0o600)
        self._note()
        return False

    async def _fetch_parts(self) -> AsyncGenerator[Progress, None]:
        waiting = [part for part in self._record.parts if part.completed < part.end - part.start]
        workers = [asyncio.create_task(self._work(waiting)) for _ in range(_STREAMS)]
        try:
            pending = set(workers)
            while pending:
                done, pending = await asyncio.wait(
                    pending, timeout=_REPORT_SECONDS, return_when=asyncio.FIRST_EXCEPTION
                )
                for task in done:
                    task.result()
                yield self._progress(self._completed())
        except _WholeOnly:
            await _end(workers)
            await self._fetch_whole()
            yield self._progress(self._completed())
        finally:
            await _end(workers)
            # What is complete gets its name next, and is not resumed.
            if self._completed() < self._wanted.size_bytes:
                with contextlib.suppress(OSError):
                    self._note()

    async def _work(self, waiting: list[_Part]) -> None:
        while waiting:
            await self._fetch_part(waiting.pop(0))

    async def _fetch_part(self, part: _Part) -> None:
        idle = 0
        while part.start + part.completed < part.end:
            before = part.completed
            try:
                await self._try_part(part)
            except SourceFailed as why:
                idle = 0 if part.completed > before else idle + 1
                if idle >= _TRIES or not isinstance(why, Interrupted):
                    raise
                await self._pause(idle)

    async def _try_part(self, part: _Part) -> None:
        try:
            await self._ask_part(part, None)
        except Challenged as refusal:
            await self._ask_part(part, refusal)

    async def _ask_part(self, part: _Part, refusal: Challenged | None) -> None:
        start = part.start + part.completed
        shown = await self._proof(refusal) if self._proof is not None else None
        async with self._network.stream(
            "GET",
            self._wanted.url,
            headers={"Range": f"bytes={start}-{part.end - 1}"},
            insecure=self._wanted.insecure,
            stall_seconds=self._stall_seconds,
            authorize=shown,
        ) as response:
            if response.status_code == 401 and self._proof is not None and refusal is None:
                raise Challenged(response.headers.get("WWW-Authenticate", ""), shown)
            _check_status(response, self._wanted.url)
            if response.status_code == 200:
                if len(self._record.parts) > 1 or start:
                    raise _WholeOnly
            elif not _begins_at(response, start, self._wanted.size_bytes):
                raise Interrupted("the server sent another range than it was asked for")
            with self._partial.open("r+b", buffering=0) as file:
                file.seek(start)
                async for chunk in response.aiter_raw():
                    room = part.end - part.start - part.completed
                    if len(chunk) > room:
                        raise Interrupted("the server sent more than it was asked for")
                    write_all(file.fileno(), chunk)
                    part.completed += len(chunk)
                    self._note_sometimes()
        if part.start + part.completed < part.end:
            raise Interrupted(
                f"{place_of(self._wanted.url).host} ended the connection early",
                hint="what came is kept; ask for the same model again to go on",
            )

    async def _fetch_whole(self) -> None:
        """From a server without ranges: begins at the beginning each time."""
        idle = 0
        while True:
            part = _Part(0, self._wanted.size_bytes)
            self._record.parts = [part]
            # Before the bytes go that it spoke of.
            self._note()
            self._partial.write_bytes(b"")
            try:
                await self._try_part(part)
                return
            except Interrupted:
                idle += 1
                if idle >= _TRIES:
                    raise
                await self._pause(idle)

    async def _pause(self, idle: int) -> None:
        # Not all at once when many lost the same server.
        await asyncio.sleep(min(10.0, self._pause_seconds * 2**idle) * random.uniform(0.5, 1.0))

    def _note_sometimes(self) -> None:
        is_time = time.monotonic() - self._noted_at >= _NOTE_SECONDS
        if is_time and self._completed() - self._noted >= _NOTE_BYTES:
            self._note()

    def _note(self) -> None:
        if self._lost:
            return
        self._noted = self._completed()
        self._noted_at = time.monotonic()
        if not self._wanted.digest:
            self._settle()
        write_whole(self._record_path, msgspec.json.encode(self._record))

    def _settle(self) -> None:
        """Have on the disk what is about to be noted: without a digest nobody would see that a
        power cut made holes in it."""
        try:
            with self._partial.open("r+b") as file:
                settle_file(file.fileno())
        except OSError:
            # Settled a second time, lost bytes would seem to be there (see `BlobStore.adopt`): the
            # next try begins at the last note.
            self._lost = True
            raise

    def _completed(self) -> int:
        return sum(part.completed for part in self._record.parts)

    def _size_here(self) -> int:
        with contextlib.suppress(OSError):
            return self._partial.stat().st_size
        return 0

    def _finish(self, digest: str) -> None:
        self._blobs.adopt(self._partial, digest)
        self._record_path.unlink(missing_ok=True)

    def _forget(self) -> None:
        self._partial.unlink(missing_ok=True)
        self._record_path.unlink(missing_ok=True)

    def _progress(self, completed: int) -> Progress:
        name = self._wanted.name
        return Progress(
            status=f"pulling {name[7:19]}",
            digest=name,
            total_bytes=self._wanted.size_bytes,
            completed_bytes=min(completed, self._wanted.size_bytes),
        )


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _covers(record: _Record, size: int) -> bool:
    """Whether a record is sound: parts side by side that make the whole file."""
    at = 0
    for part in record.parts:
        if part.start != at or not 0 <= part.completed <= part.end - part.start:
            return False
        at = part.end
    return record.size_bytes == size == at


def _check_status(response: httpx2.Response, url: str) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    host = place_of(url).host
    if status in AGAIN:
        raise Interrupted(f"{host} answered {status}")
    if status in (401, 403):
        raise Refused(
            f"{host} does not give us the file", hint="check registry_credentials, or hub_token"
        )
    if status == 404:
        raise NotFound("pull model manifest: file does not exist", code="model_not_found")
    raise SourceFailed(f"{host} answered {status} instead of the file")


def _begins_at(response: httpx2.Response, start: int, size: int) -> bool:
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return found is not None and int(found[1]) == start and found[2] in ("*", str(size))
