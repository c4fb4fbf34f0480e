"""One HTTP connection within bounds: what a peer may send before it says anything, and how long.

All of this comes before the gate and before any key, and uvicorn bounds none of it.
"""

from __future__ import annotations

import asyncio
import logging

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# The line of the request and its headers together; also trailers, and extensions of chunks.
HEAD_BYTES = 64 * 1024
# From the first chance to send a head until it is whole.
HEAD_SECONDS = 30.0
# An answer gives up a caller who reads nothing a little earlier, and in words of its own.
READING_SECONDS = 330.0

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"connection: close\r\ncontent-length: 0\r\n\r\n"
)

log = logging.getLogger("dimora.server")


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, for peers who mean no good."""

    # More than these are not let in: whoever is there already is served.
    most_connections = 65_536

    # Bytes since the last that were of a body, or ended a head or a message. The parser and
    # uvicorn keep all of them, and join them anew with each piece that comes.
    _unsaid_bytes = 0
    _in_message = False
    _deadline: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            transport.abort()
            return
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        self._forget_unread()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._in_message:
            self._expect_head()
        while data and not self.transport.is_closing():
            piece = data[: HEAD_BYTES - self._unsaid_bytes]
            data = data[len(piece) :]
            self._unsaid_bytes += len(piece)
            super().data_received(piece)
            if self._unsaid_bytes >= HEAD_BYTES:
                self._refuse_head()

    def on_message_begin(self) -> None:
        self._expect_head()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        # After the head these are trailers, which nobody may take for headers that were checked.
        if not self._in_message:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._unsaid_bytes = 0
        self._in_message = True
        self._forget_deadline()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unsaid_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unsaid_bytes = 0
        self._in_message = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_message:
            # Answered early, as without a key: the rest of the body is not waited for without end.
            self._expect_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._forget_unread()
        self._unread = self.loop.call_later(READING_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._forget_unread()
        super().resume_writing()

    def _expect_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _give_up(self) -> None:
        self._deadline = None
        if self._is_answering():
            # Whoever sends the next request early loses nothing by it.
            self._expect_head()
        else:
            self.transport.abort()

    def _refuse_head(self) -> None:
        if self.transport.is_closing():
            return
        log.info("event=head_too_large")
        if not self._is_answering():
            self.transport.write(_TOO_LARGE)
        self.transport.close()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _forget_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
