"""The side that asks: files go to a process of their own, documents come back.

A file may do to that process what it likes: it costs an error for that file.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from dimora.core.errors import BadRequest, DimoraError, WorkerDied, error_named
from dimora.core.frames import FrameReader, pack
from dimora.core.worker_processes import reap, start_process
from dimora.documents import messages, refusals
from dimora.documents.base import Document
from dimora.documents.kinds import HEAD_BYTES, kind_of, known_endings
from dimora.documents.limits import ReadingLimits

__all__ = ["HEAD_BYTES", "Reader", "kind_of", "known_endings"]

_RECEIVE_BYTES = 2**18
_START_SECONDS = 30.0


class Reader:
    """Reads one file at a time in one process, which starts with the first of them.

    An async context manager; leaving it ends the process. To be used in the main thread.
    """

    def __init__(self, limits: ReadingLimits | None = None) -> None:
        self.limits = limits or ReadingLimits()
        self._one_at_a_time = asyncio.Lock()
        self._process: _Process | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._end()

    @property
    def pid(self) -> int:
        """Of the process, 0 while there is none."""
        return self._process.pid if self._process else 0

    async def read(self, name: str, data: bytes) -> Document:
        """The document. `name` helps to tell what it is, no file of that name is opened.

        Raises:
            BadRequest: the file cannot be read; its code says why, see `refusals`.
            WorkerDied: the process cannot be started.
        """
        if len(data) > self.limits.file_bytes:
            most = self.limits.file_bytes // 2**20
            raise refusals.too_large(f"it has {len(data) // 2**20} MiB, and {most} are read")
        if not data:
            raise refusals.empty()
        async with self._one_at_a_time:
            process = await self._running()
            whole = False
            try:
                async with asyncio.timeout(self.limits.seconds):
                    answer = await process.ask(name, data)
                whole = not (isinstance(answer, messages.Failed) and answer.last)
            except TimeoutError:
                raise refusals.took_too_long(self.limits.seconds) from None
            except (OSError, EOFError, ValueError):
                # It died of this file, whatever is in it.
                raise _deadly() from None
            finally:
                # Also when whoever asked went away: it is in the middle of something.
                if not whole:
                    await asyncio.shield(self._end())
        if isinstance(answer, messages.Read):
            return answer.document
        raise _told(answer)

    async def _running(self) -> _Process:
        if self._process is None or self._process.has_ended:
            await self._end()
            self._process = await _started(self.limits)
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await process.end()


class _Process:
    """A reading process and our end of the pair."""

    def __init__(self, process: subprocess.Popen[bytes], pipe: socket.socket) -> None:
        self._process = process
        self._pipe = pipe
        self._reader = FrameReader(messages.FromReader)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    async def begin(self, limits: ReadingLimits) -> None:
        await self._send(messages.Begin(limits=limits))
        await self._next()

    async def ask(self, name: str, data: bytes) -> messages.FromReader:
        """Raises OSError, EOFError, ValueError where it does not answer in our words."""
        for frame in _frames(name, data):
            await self._send(frame)
        return await self._next()

    async def end(self) -> None:
        self._pipe.close()
        await reap(self._process, 0)

    async def _send(self, frame: messages.ToReader) -> None:
        await asyncio.get_running_loop().sock_sendall(self._pipe, pack(frame))

    async def _next(self) -> messages.FromReader:
        loop = asyncio.get_running_loop()
        while True:
            received = await loop.sock_recv(self._pipe, _RECEIVE_BYTES)
            if not received:
                raise EOFError
            answers: list[messages.FromReader] = list(self._reader.feed(received))
            if answers:
                return answers[0]


def _frames(name: str, data: bytes) -> Iterator[messages.ToReader]:
    yield messages.File(name=name, size_bytes=len(data))
    for begin in range(0, len(data), messages.PART_BYTES):
        yield messages.Part(data=data[begin : begin + messages.PART_BYTES])


async def _started(limits: ReadingLimits) -> _Process:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    try:
        # What is printed there may be words of documents, and goes nowhere.
        started = _Process(start_process("dimora.documents.worker", theirs, None), ours)
    except OSError:
        ours.close()
        raise WorkerDied("the process that reads documents cannot be started") from None
    finally:
        theirs.close()
    try:
        async with asyncio.timeout(_START_SECONDS):
            await started.begin(limits)
    except BaseException as failure:
        await asyncio.shield(started.end())
        if isinstance(failure, TimeoutError | OSError | EOFError | ValueError):
            raise WorkerDied("the process that reads documents does not answer") from None
        raise
    return started


def _deadly() -> BadRequest:
    return BadRequest(
        "reading it ended the process that reads",
        hint="it is broken, made to do harm, or takes more memory than it may",
        code="unreadable_document",
    )


def _told(answer: messages.FromReader) -> DimoraError:
    if isinstance(answer, messages.Failed):
        return error_named(answer.kind, answer.message, hint=answer.hint, code=answer.code)
    return _deadly()
