"""One HTTP answer: read the body, ask the house, write what comes back, notice who leaves.

An error before the first byte gets its own status; one in the middle ends the stream in the
words of its language. The caller's going away cancels the work at once, also before there is
anything to send.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable, MutableMapping, Sequence
from pathlib import PurePath
from typing import Any, Protocol
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from dimora.core.errors import Cancelled, DimoraError, InternalError, Overloaded
from dimora.core.settings import Settings
from dimora.core.types import Done, Event, Principal, Queued, Request
from dimora.dialects.base import Answer, Asked, Fixed, Incoming, Opening, Opens, Route, Wraps
from dimora.tasks.embed import EmbedDone

# Who waits in the queue longer than this is told their place, if the answer is a stream.
PATIENCE_SECONDS = 10.0
# A body of which nothing comes for so long is given up, also that of an upload.
BODY_IDLE_SECONDS = 300.0
# A caller who reads nothing for so long has left, and gives back the place in the model.
READING_IDLE_SECONDS = 300.0

PRINCIPAL = "dimora.principal"

_HEADER_WARNINGS = 10
_HEADER_CHARACTERS = 200

log = logging.getLogger("dimora.server")

ErrorBody = Callable[[DimoraError], bytes]
Headers = list[tuple[bytes, bytes]]


class BodyStalled(DimoraError):
    status = 408
    code = "body_stalled"


class House(Protocol):
    """What the server needs of a house; `runtime.house` is the real one."""

    @property
    def settings(self) -> Settings: ...

    def run(
        self, principal: Principal, request: Request, content: AsyncIterator[bytes] | None = None
    ) -> AsyncIterator[Event]: ...

    def admit(self, credential: str | None, *, peer_is_loopback: bool) -> Principal: ...

    def metrics(self) -> bytes: ...

    async def start(self) -> None: ...

    def prepare(self) -> None: ...

    async def tidy(self) -> None: ...

    async def close(self) -> None: ...


def plain_headers(media_type: str, body: bytes) -> Headers:
    return [
        (b"content-type", media_type.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]


async def send_whole(scope: Scope, send: Send, status: int, body: bytes, headers: Headers) -> None:
    """One response in one piece; without the body for HEAD."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


async def send_error(
    scope: Scope, send: Send, error: DimoraError, body: bytes, challenge: str = "Bearer"
) -> None:
    """An error before the first byte, with what the caller can do about it in headers."""
    headers = plain_headers("application/json; charset=utf-8", body)
    if error.retry_after_seconds is not None:
        headers.append((b"retry-after", str(error.retry_after_seconds).encode()))
    if error.status == 401:
        headers.append((b"www-authenticate", challenge.encode()))
    if error.hint:
        headers.append((b"x-dimora-hint", header_text(error.hint)))
    await send_whole(scope, send, error.status, body, headers)


def header_text(text: str) -> bytes:
    """Words of anyone, made fit for a header: ASCII, printable, not too long."""
    return _printable(text)[:_HEADER_CHARACTERS].encode()


def _printable(text: str) -> str:
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)


def warning_headers(warnings: Sequence[str]) -> Headers:
    return [(b"x-dimora-warning", header_text(w)) for w in warnings[:_HEADER_WARNINGS]]


def as_dimora_error(failure: Exception) -> DimoraError:
    """The error itself, or the one that stands for a defect of ours.

    The failure's own words may hold content and are not logged; where it happened is.
    """
    if isinstance(failure, DimoraError):
        return failure
    log.error("event=defect kind=%s", type(failure).__name__)
    steps = traceback.extract_tb(failure.__traceback__)
    log.debug("trace=%s", " > ".join(f"{PurePath(s.filename).name}:{s.lineno}" for s in steps))
    return InternalError("internal error", hint="the server's log has more")


class Endpoint:
    """The ASGI application of one route of a dialect."""

    def __init__(self, house: House, route: Route, error_body: ErrorBody) -> None:
        self._house = house
        self._route = route
        self._error_body = error_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        upload = Upload(receive) if self._route.uploads else None
        body = b"" if upload is not None else await read_body(receive)
        if body is None:
            return
        try:
            asked = self._route.decode(self._incoming(scope, body))
        except Exception as failure:  # noqa: BLE001 - the border of a request
            error = as_dimora_error(failure)
            await send_error(scope, send, error, self._error_body(error))
            return
        if isinstance(asked, Fixed):
            headers = plain_headers(asked.media_type, asked.body)
            await send_whole(scope, send, asked.status, asked.body, headers)
            return
        content = upload.pieces() if upload is not None else None
        events = self._house.run(scope[PRINCIPAL], asked.request, content)
        answering = Answering(scope, send, asked, events)
        try:
            await answering.run(receive if upload is None else upload.receive_rest)
        finally:
            if content is not None:
                await content.aclose()

    def _incoming(self, scope: Scope, body: bytes) -> Incoming:
        return Incoming(
            method=scope["method"],
            body=body,
            path=scope.get("path_params", {}),
            query=dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"))),
            headers=_wanted_headers(scope["headers"], self._route.headers),
            version=self._house.settings.ollama_version,
            default_model=self._house.settings.default_model,
        )


class Upload:
    """A body that a task reads piece by piece, while somebody watches whether its sender leaves."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ended = asyncio.Event()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body. Raises Cancelled when its sender leaves, or says nothing for too long."""
        more = True
        while more:
            try:
                async with asyncio.timeout(BODY_IDLE_SECONDS):
                    message = await self._receive()
            except TimeoutError:
                raise Cancelled("the upload stopped half-way", code="upload_stalled") from None
            if message["type"] == "http.disconnect":
                self._ended.set()
                raise Cancelled("the sender of the upload left")
            more = message.get("more_body", False)
            if more is False:
                self._ended.set()
            yield message.get("body", b"")

    async def receive_rest(self) -> Any:
        """What comes after the body; waits while the task still reads that."""
        await self._ended.wait()
        return await self._receive()


def _wanted_headers(headers: Headers, names: tuple[str, ...]) -> dict[str, str]:
    """Those of these names; one that came twice is joined, as HTTP has it."""
    found: dict[str, str] = {}
    for key, value in headers:
        name = key.decode("latin-1")
        if name in names:
            text = value.decode("latin-1").strip()
            found[name] = f"{found[name]}, {text}" if name in found else text
    return found


async def read_body(receive: Receive) -> bytes | None:
    """The whole body; None when the caller left before its end.

    Raises BodyStalled when nothing comes for too long.
    """
    pieces = []
    while True:
        try:
            async with asyncio.timeout(BODY_IDLE_SECONDS):
                message = await receive()
        except TimeoutError:
            raise BodyStalled("the request body stopped half-way") from None
        if message["type"] == "http.disconnect":
            return None
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)


class _ReadsNoMore(Exception):
    """The caller is still connected, and takes nothing."""


class Answering:
    """Writes one answer of the house to one caller."""

    def __init__(
        self,
        scope: Scope,
        send: Send,
        asked: Asked,
        events: AsyncIterator[Event],
    ) -> None:
        self._scope = scope
        self._deliver = send
        self._asked = asked
        self._answer: Answer = asked.answer
        self._events = events
        self._opening = asyncio.Lock()
        self._open = False
        # Whether the caller was promised a length, so that an early end has to show.
        self._promised = False
        self._place: Queued | None = None
        self._stopping = False
        self._reads_no_more = False

    async def run(self, receive: Receive) -> None:
        """Returns when the answer is written or the caller has left; no work goes on after."""
        work = asyncio.create_task(self._work())
        watch = asyncio.create_task(_wait_for_leaving(receive))
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._stopping = True
            raise
        finally:
            watch.cancel()
            work.cancel()
            # Waits for both, also when this task is itself being cancelled.
            outcomes = await asyncio.gather(work, watch, return_exceptions=True)
        if isinstance(outcomes[0], Exception):
            raise outcomes[0]

    async def _work(self) -> None:
        try:
            if self._answer.streaming:
                await self._stream()
            else:
                await self._collect()
        except asyncio.CancelledError:
            if self._stopping:
                await self._fail(Overloaded("the server is stopping", code="stopping"))
            raise
        except _ReadsNoMore:
            log.info("event=caller_reads_no_more")
        except Exception as failure:  # noqa: BLE001 - the border of a request
            await self._fail(as_dimora_error(failure))
        finally:
            await self._events.aclose()  # type: ignore[attr-defined]

    async def _collect(self) -> None:
        events = [e async for e in self._events if not isinstance(e, Queued)]
        done = _last(events)
        body = self._answer.whole(events)
        opening = self._opening_of(events[0])
        headers = plain_headers(opening.media_type or self._answer.media_type, body)
        headers += _more_headers(opening) + warning_headers(done.warnings)
        if done.usage.truncated or (isinstance(done, EmbedDone) and done.truncated_texts):
            headers.append((b"x-dimora-truncated", b"true"))
        self._open = True
        await send_whole(self._scope, self._send, opening.status, body, headers)

    async def _stream(self) -> None:
        loop = asyncio.get_running_loop()
        telling: set[asyncio.Task[None]] = set()
        patience_ends = loop.time() + PATIENCE_SECONDS
        timer = loop.call_at(
            patience_ends, lambda: telling.add(asyncio.create_task(self._tell_place()))
        )
        last: Event | None = None
        try:
            async for event in self._events:
                last = event
                if isinstance(event, Queued):
                    self._place = event
                    if not self._open and loop.time() < patience_ends:
                        continue
                else:
                    self._place = None
                    timer.cancel()
                await self._write(event)
        finally:
            timer.cancel()
            for task in telling:
                task.cancel()
        if not isinstance(last, Done):
            raise InternalError("the answer ended before its end")
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _tell_place(self) -> None:
        """Begin the response early, for a caller who waits in the queue."""
        if self._place is not None and not self._open:
            # Nobody waits for this task; the next event finds the same.
            with contextlib.suppress(_ReadsNoMore):
                await self._write(self._place)

    async def _write(self, event: Event) -> None:
        frame = self._answer.frame(event)
        # The lock keeps the response's start before everything else.
        async with self._opening:
            if not self._open:
                self._open = True
                await self._begin(self._opening_of(event))
            if frame and self._scope["method"] != "HEAD":
                await self._send({"type": "http.response.body", "body": frame, "more_body": True})

    async def _begin(self, opening: Opening) -> None:
        headers = [
            (b"content-type", (opening.media_type or self._answer.media_type).encode()),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
            *_more_headers(opening),
            *warning_headers(self._asked.request.warnings),
        ]
        if opening.length_bytes is not None:
            self._promised = True
            headers.append((b"content-length", str(opening.length_bytes).encode()))
        await self._send(
            {"type": "http.response.start", "status": opening.status, "headers": headers}
        )

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        """Waits while much of what was sent before is still to be read."""
        if self._reads_no_more:
            raise _ReadsNoMore
        try:
            async with asyncio.timeout(READING_IDLE_SECONDS):
                await self._deliver(message)
        except TimeoutError:
            self._reads_no_more = True
            raise _ReadsNoMore from None

    def _opening_of(self, first: Event) -> Opening:
        if isinstance(self._answer, Opens):
            return self._answer.opening(first)
        return Opening()

    async def _fail(self, error: DimoraError) -> None:
        """Tell how it failed, as far as that can still be told."""
        # The work is over already: that nobody reads this changes nothing.
        with contextlib.suppress(_ReadsNoMore):
            if not self._open:
                self._open = True
                await self._refuse(error)
            elif self._answer.streaming and not self._promised:
                body = self._answer.failure(error)
                await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def _refuse(self, error: DimoraError) -> None:
        body = self._answer.refusal(error)
        if isinstance(self._answer, Wraps):
            headers = plain_headers("application/json; charset=utf-8", body)
            status = self._answer.refusal_status
            await send_whole(self._scope, self._send, status, body, headers)
            return
        await send_error(self._scope, self._send, error, body)


def _more_headers(opening: Opening) -> Headers:
    return [(name.encode(), _printable(value).encode()) for name, value in opening.headers]


def _last(events: Sequence[Event]) -> Done:
    """The Done that ends an answer. Raises InternalError when there is none."""
    if events and isinstance(events[-1], Done):
        return events[-1]
    raise InternalError("the answer ended before its end")


async def _wait_for_leaving(receive: Receive) -> None:
    message: Any = await receive()
    while message["type"] != "http.disconnect":
        message = await receive()
