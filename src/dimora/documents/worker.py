"""The process in which files are read: one after another, with nothing else to lose.

Run as `python -m dimora.documents.worker FD`, FD being the inherited end of a socket pair. It has
no network, starts no programs, writes no files, and takes no more memory than it is told. What a
file does to it ends with it; the other end starts a new one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys

from dimora.core.confinement import allow_seconds, confine
from dimora.core.errors import DimoraError
from dimora.core.frames import FrameReader, pack
from dimora.core.parent_death import die_with_parent
from dimora.documents import messages, refusals
from dimora.documents.limits import ReadingLimits
from dimora.documents.opening import open_document

_RECEIVE_BYTES = 2**20
# A thread of a library takes this much of the address space, not the system's 8 MiB and more.
_THREADS = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}


class _Desk:
    """Takes frames; reads a file when all of it is there."""

    def __init__(self, pipe: socket.socket) -> None:
        self._pipe = pipe
        self._limits = ReadingLimits()
        self._file = messages.File(name="", size_bytes=0)
        self._parts: list[bytes] = []
        self._missing = 0
        self.ended = False

    def take(self, frame: messages.ToReader) -> None:
        match frame:
            case messages.Begin(limits=limits):
                self._limits = limits
                confine(memory_bytes=limits.memory_bytes, open_files=limits.open_files)
                self._send(messages.Ready())
            case messages.File(size_bytes=size_bytes):
                self._file, self._parts, self._missing = frame, [], size_bytes
                if size_bytes == 0:
                    self._answer()
            case messages.Part(data=data):
                self._parts.append(data)
                self._missing -= len(data)
                if self._missing <= 0:
                    self._answer()

    def _answer(self) -> None:
        allow_seconds(self._limits.seconds)
        answer = self._read()
        self._parts = []
        self.ended = isinstance(answer, messages.Failed) and answer.last
        try:
            self._send(answer)
        except MemoryError:
            self.ended = True
            self._send(_failed(refusals.too_large("it takes more memory than it may"), last=True))

    def _read(self) -> messages.FromReader:
        try:
            data = b"".join(self._parts)
            self._parts = []
            return messages.Read(
                document=open_document(self._file.name, data, self._limits.budget())
            )
        except DimoraError as error:
            # Memory that ran out once is not trusted to be in order again.
            return _failed(error, last=error.code == "document_too_large")
        except MemoryError:
            return _failed(refusals.too_large("it takes more memory than it may"), last=True)
        except BaseException:  # noqa: BLE001
            # A library beyond Python may end in ways of its own (a panic of Rust).
            return _failed(refusals.unreadable("document"), last=True)

    def _send(self, frame: messages.FromReader) -> None:
        self._pipe.sendall(pack(frame))


def _failed(error: DimoraError, *, last: bool) -> messages.Failed:
    return messages.Failed(
        kind=type(error).__name__,
        code=error.code,
        message=error.message,
        hint=error.hint,
        last=last,
    )


def work(pipe: socket.socket) -> None:
    """Serve the other end of `pipe` until it closes, or until a file was too much."""
    reader = FrameReader(messages.ToReader)
    desk = _Desk(pipe)
    # A stream that is not ours ends the process as well: there is nobody to tell.
    with contextlib.suppress(OSError, ValueError):
        while not desk.ended and (data := pipe.recv(_RECEIVE_BYTES)):
            for frame in reader.feed(data):
                desk.take(frame)


def main() -> None:
    die_with_parent()
    # Ctrl-C at a terminal is for those who ask.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(_THREADS)
    try:
        work(socket.socket(fileno=int(sys.argv[1])))
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
