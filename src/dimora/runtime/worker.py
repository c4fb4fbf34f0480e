"""The process of one loaded model: frames in, frames out, one thread per request.

Run as `python -m dimora.runtime.worker FD`, FD being the inherited end of a socket pair. No
asyncio here, and nothing of the server: a worker stays small. It ends when the other end closes,
when the engine is beyond help, and with its parent.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from dimora.core.errors import DimoraError, InternalError, WorkerDied
from dimora.core.frames import FrameReader, pack
from dimora.core.parent_death import die_with_parent
from dimora.engines import SHELF
from dimora.engines.base import Cancellation, Engine
from dimora.runtime import messages
from dimora.tasks.base import Finish, Token

_RECEIVE_BYTES = 2**16
# Requests that are quick (tokenize) must not wait behind those that write.
_QUICK_THREADS = 4
# Room for requests that come while a cancelled one is on its way out.
_SPARE_THREADS = 4
# How long an engine may take to put its things away before the process ends without that.
_GRACE_SECONDS = 1.0


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
    """Takes the requests of one loaded engine and runs each in a thread.

    `ended` is set when the process has nothing more to do.
    """

    def __init__(self, outlet: Outlet) -> None:
        self.ended = threading.Event()
        self._outlet = outlet
        self._engine: Engine | None = None
        self._running: dict[int, Cancellation] = {}
        self._lock = threading.Lock()
        self._quick = ThreadPoolExecutor(_QUICK_THREADS, thread_name_prefix="quick")
        self._long = self._quick

    def open(self, engine: Engine, parallel: int) -> None:
        self._engine = engine
        self._long = ThreadPoolExecutor(parallel + _SPARE_THREADS, thread_name_prefix="long")

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
            is_long = isinstance(frame, messages.Generate | messages.Embed)
            (self._long if is_long else self._quick).submit(self._run, frame, cancel)

    def cancel_all(self) -> None:
        with self._lock:
            running = list(self._running.values())
        for cancel in running:
            cancel.cancel()

    def _run(self, frame: _Request, cancel: Cancellation) -> None:
        def answer(one: messages.FromWorker) -> None:
            if not cancel.cancelled:
                self._outlet.send(one)

        try:
            if self._engine is None:
                raise InternalError("the worker has no model yet")
            if not cancel.cancelled:
                _serve(self._engine, frame, cancel, answer)
        except DimoraError as error:
            answer(_failed(frame.id, error))
            if isinstance(error, WorkerDied):
                # The engine is beyond help: the server starts another process.
                self.ended.set()
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
            finish: Finish | None = None
            for item in engine.generate(prompt, sampling, cancel):
                if isinstance(item, Token):
                    answer(messages.Tokens(id=id_, tokens=(item,)))
                else:
                    finish = item
            # Not before the engine has put its things away: who hears of the end may ask again at
            # once, and wants to return to where its words are.
            if finish is not None:
                answer(messages.Finished(id=id_, finish=finish))
        case messages.Embed(id=id_, wanted=wanted):
            answer(messages.EmbedAnswer(id=id_, embedded=engine.embed(wanted, cancel)))
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
    return engine


def _ready(engine: Engine) -> messages.Ready:
    return messages.Ready(
        version=engine.version,
        features=tuple(engine.features),
        context_tokens=engine.context_tokens,
    )


def _read(pipe: socket.socket, loads: queue.SimpleQueue[messages.Load | None], desk: Desk) -> None:
    """Hand out frames until the other end closes; then end the process."""
    reader = FrameReader(messages.ToWorker)
    # A stream that is not ours ends the process as well: there is nobody to tell.
    with contextlib.suppress(OSError, ValueError):
        while data := pipe.recv(_RECEIVE_BYTES):
            for frame in reader.feed(data):
                if isinstance(frame, messages.Load):
                    loads.put(frame)
                else:
                    desk.take(frame)
    _end_soon()
    loads.put(None)
    desk.cancel_all()
    desk.ended.set()


def _end_soon() -> None:
    """End the process, also when an engine is deep in native code and does not listen."""
    timer = threading.Timer(_GRACE_SECONDS, os._exit, (0,))
    timer.daemon = True
    timer.start()
    # Native code that waits while it holds Python's lock stops that thread too, but not the kernel.
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_REAL, 2 * _GRACE_SECONDS)


def work(pipe: socket.socket) -> None:
    """Serve the other end of `pipe` until it closes.

    The engine is loaded in the main thread: a child of the engine dies with the thread that
    started it. Frames are read in another, so that the end is noticed while loading too.
    """
    outlet = Outlet(pipe)
    desk = Desk(outlet)
    loads: queue.SimpleQueue[messages.Load | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(pipe, loads, desk), name="reader", daemon=True).start()
    frame = loads.get()
    engine = None if frame is None else _load(frame, outlet)
    if frame is None or engine is None:
        return
    desk.open(engine, frame.options.parallel)
    outlet.send(_ready(engine))
    desk.ended.wait()
    _end_soon()
    engine.close()


def main() -> None:
    die_with_parent()
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
