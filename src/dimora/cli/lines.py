"""Speaks MCP over two streams: messages come as lines, and go as lines, several calls at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, BinaryIO

from dimora.cli.door import Door, Ending
from dimora.core.errors import BadRequest, DimoraError, InternalError
from dimora.core.settings import Settings
from dimora.dialects.base import Asked, Incoming
from dimora.dialects.mcp import decode_line, error

# Calls that are worked on at a time; the house queues what is for one model.
_AT_A_TIME = 8


class LineServer:
    """Answers the messages of one client until it closes its stream."""

    def __init__(self, door: Door, settings: Settings, target: BinaryIO) -> None:
        self._door = door
        self._settings = settings
        self._target = target
        self._writing = threading.Lock()
        self._calls = _Calls()

    def serve(self, source: BinaryIO) -> None:
        """Ends with the source, once what was asked is answered."""
        with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="call") as workers:
            # What was asked before the stream ended is answered still.
            try:
                for line in self._lines(source):
                    self._take(line, workers.submit)
            except BaseException:
                self._calls.cancel_all()
                raise

    def _lines(self, source: BinaryIO) -> Iterator[bytes]:
        limit = self._settings.max_body_bytes
        while line := source.readline(limit + 1):
            if len(line) > limit:
                # The rest cannot be told from the next message.
                self._write(error(BadRequest("the message is too long")) + b"\n")
                return
            if line.strip():
                yield line

    def _take(self, line: bytes, submit: Callable[..., Any]) -> None:
        incoming = Incoming(method="POST", body=line, default_model=self._settings.default_model)
        told = decode_line(incoming)
        if told.asked is not None:
            submit(self._answer, told.asked, self._calls.begin(told.id))
        self._write(told.body)
        self._calls.cancel(told.cancels)

    def _answer(self, asked: Asked, call: _Running) -> None:
        try:
            if call.is_cancelled:
                return
            with closing(self._door.ask(asked.request, call.ending)) as events:
                for event in events:
                    if call.is_cancelled:
                        return
                    self._write(asked.answer.frame(event))
        except DimoraError as why:
            if not call.is_cancelled:
                self._write(asked.answer.failure(why))
        except Exception:  # noqa: BLE001 - the border of a request
            self._write(asked.answer.failure(InternalError("internal error")))
        finally:
            self._calls.end(call)

    def _write(self, data: bytes) -> None:
        if not data:
            return
        with self._writing:
            self._target.write(data)
            self._target.flush()


class _Running:
    """A call that is worked on; its client may not want the answer any more."""

    def __init__(self, id: str | int | None) -> None:
        self.id = id
        self.ending = Ending()

    @property
    def is_cancelled(self) -> bool:
        return self.ending.has_come

    def cancel(self) -> None:
        self.ending.come()


class _Calls:
    def __init__(self) -> None:
        self._running: set[_Running] = set()
        self._lock = threading.Lock()

    def begin(self, id: str | int | None) -> _Running:
        call = _Running(id)
        with self._lock:
            self._running.add(call)
        return call

    def end(self, call: _Running) -> None:
        with self._lock:
            self._running.discard(call)

    def cancel(self, id: str | int | None) -> None:
        """The call of this id; nothing where there is none."""
        with self._lock:
            for call in self._running:
                if id is not None and call.id == id:
                    call.cancel()

    def cancel_all(self) -> None:
        with self._lock:
            for call in self._running:
                call.cancel()
