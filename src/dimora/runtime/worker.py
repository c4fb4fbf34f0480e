"""The process of one loaded model: frames in, frames out, one thread per request.

Run as `python -m dimora.runtime.worker FD`, FD being the inherited end of a socket pair. No
asyncio here, and nothing of the server: a worker stays small. It ends when the other end closes,
and dies with its parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from dimora.core.errors import DimoraError, InternalError
from dimora.core.frames import FrameReader, pack
from dimora.engines import SHELF
from dimora.engines.base import Cancellation, Engine
from dimora.runtime import messages
from dimora.tasks.base import Finish, Token

_RECEIVE_BYTES = 2**16
# Requests that are quick (tokenize) must not wait behind those that write.
_SPARE_THREADS = 4
_PR_SET_PDEATHSIG = 1


class Outlet:
    """Our end of the socket pair, for many threads."""

    def __init__(self, pipe: socket.socket) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def send(self, frame: messages.FromWorker) -> None:
        data = pack(frame)
        # A server that is gone is noticed by the reading thread, which ends the process.
        with self._lock, contextlib.suppress(OSError):
            self._pipe.sendall(data)


class Desk:
    """Takes the requests of one loaded engine and runs each in a thread."""

    def __init__(self, engine: Engine, outlet: Outlet, threads: int) -> None:
        self._engine = engine
        self._outlet = outlet
        self._pool = ThreadPoolExecutor(threads + _SPARE_THREADS, thread_name_prefix="request")
        self._running: dict[int, Cancellation] = {}
        self._lock = threading.Lock()

    def take(self, frame: messages.ToWorker) -> None:
        """Start a request, or cancel one."""
        if isinstance(frame, messages.Cancel):
            with self._lock:
                cancel = self._running.get(frame.id)
            if cancel is not None:
                cancel.cancel()
        elif not isinstance(frame, messages.Load):
            cancel = Cancellation()
            with self._lock:
                self._running[frame.id] = cancel
            self._pool.submit(self._run, frame, cancel)

    def _run(self, frame: _Request, cancel: Cancellation) -> None:
        def answer(one: messages.FromWorker) -> None:
            if not cancel.cancelled:
                self._outlet.send(one)

        try:
            if not cancel.cancelled:
                _serve(self._engine, frame, cancel, answer)
        except DimoraError as error:
            answer(_failed(frame.id, error))
        except Exception as failure:  # noqa: BLE001
            # The border of a request. The trace names places in code, not what was asked.
            traceback.print_tb(failure.__traceback__)
            answer(_failed(frame.id, InternalError(f"the engine failed: {type(failure).__name__}")))
        finally:
            with self._lock:
                self._running.pop(frame.id, None)


_Request = messages.Generate | messages.Embed | messages.Tokenize | messages.Detokenize


def _serve(
    engine: Engine,
    frame: _Request,
    cancel: Cancellation,
    answer: Callable[[messages.FromWorker], None],
) -> None:
    match frame:
        case messages.Generate(id=id_, prompt=prompt, sampling=sampling):
            for item in engine.generate(prompt, sampling, cancel):
                if isinstance(item, Token):
                    answer(messages.Tokens(id=id_, tokens=(item,)))
                elif isinstance(item, Finish):
                    answer(messages.Finished(id=id_, finish=item))
        case messages.Embed(id=id_, texts=texts):
            answer(messages.EmbedAnswer(id=id_, embedded=engine.embed(texts, cancel)))
        case messages.Tokenize(id=id_, text=text, add_special=add_special):
            tokens = tuple(engine.tokenize(text, add_special))
            answer(messages.TokenizeAnswer(id=id_, tokens=tokens))
        case messages.Detokenize(id=id_, tokens=tokens):
            answer(messages.DetokenizeAnswer(id=id_, text=engine.detokenize(tokens)))


def _failed(id_: int, error: DimoraError) -> messages.Failed:
    return messages.Failed(
        id=id_, kind=type(error).__name__, code=error.code, message=error.message, hint=error.hint
    )


def _load(frame: messages.Load, outlet: Outlet) -> Engine | None:
    """The engine, or None after telling why not."""
    try:
        module = SHELF.load(frame.engine)
        engine: Engine = module.load(frame.files, frame.model, frame.options, frame.settings)
    except DimoraError as error:
        outlet.send(_failed(0, error))
        return None
    except Exception as failure:  # noqa: BLE001
        traceback.print_tb(failure.__traceback__)
        why = f"the engine {frame.engine} failed to load the model: {type(failure).__name__}"
        outlet.send(_failed(0, InternalError(why)))
        return None
    outlet.send(
        messages.Ready(
            version=engine.version,
            features=tuple(engine.features),
            context_tokens=engine.context_tokens,
        )
    )
    return engine


def work(pipe: socket.socket) -> None:
    """Serve the other end of `pipe` until it closes."""
    outlet = Outlet(pipe)
    reader = FrameReader(messages.ToWorker)
    engine: Engine | None = None
    desk: Desk | None = None
    while data := pipe.recv(_RECEIVE_BYTES):
        for frame in reader.feed(data):
            if isinstance(frame, messages.Load):
                engine = _load(frame, outlet)
                if engine is None:
                    return
                desk = Desk(engine, outlet, frame.options.parallel)
            elif desk is not None:
                desk.take(frame)
    if engine is not None:
        engine.close()


def _die_with_parent() -> None:
    """Linux: the kernel kills us when the server dies, also when we are deep in native code."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    _die_with_parent()
    # Ctrl-C at a terminal is for the server.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        work(socket.socket(fileno=int(sys.argv[1])))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Threads of an engine may be in the middle of a computation nobody wants any more.
        os._exit(0)


if __name__ == "__main__":
    main()
