"""A worker process as the server sees it: start, ask, stream, stop.

One process per loaded model, at the other end of an inherited socket pair. When it dies, every
request on it fails at once with WorkerDied.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

import psutil

from dimora.core.errors import DimoraError, InternalError, WorkerDied, error_named
from dimora.core.frames import FrameReader, pack
from dimora.core.worker_processes import reap, start_process
from dimora.prompts.prompt import Prompt
from dimora.runtime import messages
from dimora.storage.disk import make_private_directory, open_private
from dimora.tasks.base import Embedded, Finish, TextsToEmbed, Token
from dimora.tasks.options import Sampling

# How long a worker may take to end by itself before it is killed.
_GRACE_SECONDS = 5.0

_F = TypeVar("_F")
_MakeFrame = Callable[[int], messages.ToWorker]

# What a worker says before its process ends.
_BEYOND_HELP = WorkerDied.__name__
_DIED = "model runner has unexpectedly stopped, this may be due to resource limitations or an"
_DIED += " internal error"


class Memory(NamedTuple):
    """`own_bytes` of what is resident would be free without the process; the rest are pages of
    files, which the system takes back as it needs them."""

    resident_bytes: int = 0
    own_bytes: int = 0


class Worker:
    """A running worker, which `Blank.load` makes."""

    def __init__(
        self, process: subprocess.Popen[bytes], pipe: _Pipe, ready: messages.Ready
    ) -> None:
        self._process = process
        self._pipe = pipe
        self.version = ready.version
        self.features = frozenset(ready.features)
        self.context_tokens = ready.context_tokens
        self.ended = pipe.closed

    @property
    def pid(self) -> int:
        return self._process.pid

    async def generate(
        self, prompt: Prompt, sampling: Sampling, began: Callable[[], None] | None = None
    ) -> AsyncGenerator[Token | Finish, None]:
        """Tokens, then one Finish. Closing it early tells the worker to stop.

        `began` is called when the first of it is there: the prompt is read.

        Raises DimoraError as the worker told it, WorkerDied when it is gone.
        """
        request = self._pipe.open_request()
        finished = False
        try:
            self._pipe.send(messages.Generate(id=request.id, prompt=prompt, sampling=sampling))
            while not finished:
                frame = await request.next()
                if began is not None:
                    began()
                    began = None
                if isinstance(frame, messages.Tokens):
                    for token in frame.tokens:
                        yield token
                elif isinstance(frame, messages.Finished):
                    finished = True
                    yield frame.finish
        except DimoraError:
            finished = True
            raise
        finally:
            self._pipe.close_request(request, cancel=not finished)

    async def embed(self, wanted: TextsToEmbed) -> Embedded:
        frame = await self._ask(lambda id_: messages.Embed(id=id_, wanted=wanted))
        return _expect(frame, messages.EmbedAnswer).embedded

    async def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        frame = await self._ask(
            lambda id_: messages.Tokenize(id=id_, text=text, add_special=add_special)
        )
        return list(_expect(frame, messages.TokenizeAnswer).tokens)

    async def detokenize(self, tokens: Sequence[int]) -> str:
        frame = await self._ask(lambda id_: messages.Detokenize(id=id_, tokens=tuple(tokens)))
        return _expect(frame, messages.DetokenizeAnswer).text

    async def _ask(self, make: _MakeFrame) -> messages.FromWorker:
        request = self._pipe.open_request()
        answered = False
        try:
            self._pipe.send(make(request.id))
            frame = await request.next()
            answered = True
            return frame
        except DimoraError:
            answered = True
            raise
        finally:
            self._pipe.close_request(request, cancel=not answered)

    def memory(self) -> Memory:
        """Of the worker and everything it started; nothing when it is gone."""
        try:
            told = [p.memory_info() for p in self._family()]
        except psutil.Error:
            return Memory()
        resident = sum(one.rss for one in told)
        # Only Linux tells what is shared with files.
        return Memory(resident, resident - sum(getattr(one, "shared", 0) for one in told))

    def memory_bytes(self) -> int:
        """Resident memory of the worker and everything it started; 0 when it is gone."""
        return self.memory().resident_bytes

    def cpu_seconds(self) -> float:
        """Of the worker and everything it started; 0 when it is gone."""
        try:
            return sum(sum(p.cpu_times()[:2]) for p in self._family())
        except psutil.Error:
            return 0.0

    def _family(self) -> list[psutil.Process]:
        process = psutil.Process(self.pid)
        return [process, *process.children(recursive=True)]

    async def stop(self) -> None:
        """End the process; returns when its memory is free."""
        self._pipe.close()
        await reap(self._process, _GRACE_SECONDS)


class Blank:
    """A worker's process that has no model yet. What it prints goes to the file at `log_path`.

    Raises OSError when none can be started. To be made in the main thread.
    """

    def __init__(self, log_path: Path) -> None:
        self._ours, theirs = socket.socketpair()
        self._ours.setblocking(False)
        try:
            make_private_directory(log_path.parent)
            with open(log_path, "ab", opener=open_private) as log:
                self._process = start_process("dimora.runtime.worker", theirs, log)
        except BaseException:
            self._ours.close()
            raise
        finally:
            theirs.close()

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    async def load(self, load: messages.Load, *, timeout_seconds: float) -> Worker:
        """Load a model in it; nothing is left of the process where that fails.

        Raises:
            InvalidModel, UnsupportedFeature, ...: as the engine says.
            WorkerDied: the process ended while loading.
            InternalError: loading took longer than `timeout_seconds`.
        """
        loop = asyncio.get_running_loop()
        _, pipe = await loop.create_unix_connection(_Pipe, sock=self._ours)
        try:
            request = pipe.open_request(0)
            pipe.send(load)
            limit = None if timeout_seconds <= 0 else timeout_seconds
            frame = await asyncio.wait_for(request.next(), limit)
            pipe.close_request(request, cancel=False)
            return Worker(self._process, pipe, _expect(frame, messages.Ready))
        except BaseException as failure:
            pipe.close()
            await asyncio.shield(reap(self._process, _GRACE_SECONDS))
            if isinstance(failure, TimeoutError):
                raise InternalError(
                    f"loading took longer than {timeout_seconds:.0f} s",
                    hint="raise load_timeout_seconds",
                    code="load_timeout",
                ) from None
            raise

    async def stop(self) -> None:
        """For one that gets no model."""
        self._ours.close()
        await reap(self._process, _GRACE_SECONDS)


class Blanks:
    """Processes without a model, one of them started before it is needed: to start Python takes as
    long as a small model takes to load."""

    def __init__(self, log_path: Path) -> None:
        self._log_path = log_path
        self._spare: Blank | None = None

    def prepare(self) -> None:
        """Have one ready. Where none can be started, `take` will say why."""
        if self._spare is None:
            with contextlib.suppress(OSError):
                self._spare = Blank(self._log_path)

    async def take(self) -> Blank:
        """Raises OSError."""
        if self._spare is None or not self._spare.is_alive:
            await self.close()
            return Blank(self._log_path)
        spare, self._spare = self._spare, None
        return spare

    async def close(self) -> None:
        """Let go of the one that is ready, if any."""
        spare, self._spare = self._spare, None
        if spare is not None:
            await spare.stop()


class _Asked:
    """A request on its way; frames for it arrive in order."""

    def __init__(self, id_: int) -> None:
        self.id = id_
        self.frames: asyncio.Queue[messages.FromWorker | DimoraError] = asyncio.Queue()

    async def next(self) -> messages.FromWorker:
        """Raises what the worker failed with."""
        frame = await self.frames.get()
        if isinstance(frame, DimoraError):
            raise frame
        if isinstance(frame, messages.Failed):
            raise error_named(frame.kind, frame.message, hint=frame.hint, code=frame.code)
        return frame


class _Pipe(asyncio.Protocol):
    """Our end of the socket pair: hands frames to the requests they belong to."""

    def __init__(self) -> None:
        self._reader = FrameReader(messages.FromWorker)
        self._asked: dict[int, _Asked] = {}
        self._next_id = 1
        self._transport: asyncio.Transport | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not checked by type: the transports of uvloop are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._reader.feed(data):
                if isinstance(frame, messages.Failed) and frame.id and frame.kind == _BEYOND_HELP:
                    # Its process ends. Everybody hears of that at once, and after the scheduler,
                    # which else would send the next one there.
                    self.close()
                    return
                asked = self._asked.get(0 if isinstance(frame, messages.Ready) else frame.id)
                if asked is not None:
                    asked.frames.put_nowait(frame)
        except ValueError:
            # A worker that speaks nonsense is as good as dead.
            self.close()

    def connection_lost(self, _: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)
        for asked in self._asked.values():
            asked.frames.put_nowait(_died())

    def open_request(self, id_: int | None = None) -> _Asked:
        if id_ is None:
            id_ = self._next_id
            self._next_id += 1
        if self.closed.done():
            raise _died()
        asked = self._asked[id_] = _Asked(id_)
        return asked

    def close_request(self, asked: _Asked, *, cancel: bool) -> None:
        self._asked.pop(asked.id, None)
        if cancel and not self.closed.done():
            self.send(messages.Cancel(id=asked.id))

    def send(self, frame: messages.ToWorker) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(pack(frame))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _died() -> WorkerDied:
    return WorkerDied(_DIED, hint="ask again; the model is loaded anew")


def _expect(frame: object, kind: type[_F]) -> _F:
    if not isinstance(frame, kind):
        raise InternalError(f"the worker answered with {type(frame).__name__}")
    return frame
