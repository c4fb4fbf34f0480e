"""The gate before every route: Host, Origin, who is there, and how much they may send.

Pure ASGI. What passes has `scope[PRINCIPAL]`, except for greetings, which are nobody's.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import math
from collections.abc import Callable, MutableMapping
from typing import Any, NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dimora import __version__
from dimora.core.errors import DimoraError
from dimora.core.settings import Settings
from dimora.server.answering import PRINCIPAL, ErrorBody, House, as_dimora_error, send_error
from dimora.server.hosts import AllowedHosts, read_address
from dimora.server.origins import AllowedOrigins, origin_headers, preflight_headers

# Told to anyone whose Host and Origin are right: they say that we are here, and nothing else.
_GREETINGS = frozenset({"/", "/health", "/api/version"})

_DRAIN_SECONDS = 10.0

SERVER = f"dimora/{__version__}".encode()

Headers = list[tuple[bytes, bytes]]


class BodyTooLarge(DimoraError):
    status = 413
    code = "body_too_large"


class Language(NamedTuple):
    """How a path is spoken to before any route is asked: errors, headers, who-are-you."""

    error: ErrorBody
    headers: tuple[tuple[bytes, bytes], ...] = ()
    challenge: str = "Bearer"


class Gate:
    """`language_of` gives the language of a path.

    A path that `takes_uploads` has no limit of size: its body is never all in memory.
    """

    def __init__(
        self,
        app: ASGIApp,
        house: House,
        settings: Settings,
        language_of: Callable[[str], Language],
        hosts: AllowedHosts | None = None,
        takes_uploads: Callable[[str], bool] = lambda path: False,
    ) -> None:
        self._app = app
        self._house = house
        self._language_of = language_of
        self._hosts = hosts or AllowedHosts.of(settings)
        self._origins = AllowedOrigins(settings.origins)
        self._has_keys = bool(settings.api_keys)
        self._max_body_bytes = settings.max_body_bytes
        self._takes_uploads = takes_uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: Headers = scope["headers"]
        origins, hosts = _values(headers, b"origin"), _values(headers, b"host")
        send = _with_headers(send, [(b"server", SERVER)])
        if not self._host_is_ours(hosts, scope.get("http_version", "1.1")):
            await _send_bare(send, 403)
            return
        if origins:
            if len(origins) > 1 or not self._origins.allow(origins[0], "".join(hosts)):
                await _send_bare(send, 403)
                return
            send = _with_headers(send, origin_headers(origins[0].strip()))
        if scope["method"] == "OPTIONS":
            await _send_bare(send, 204, preflight_headers() if origins else [])
            return
        language = self._language_of(scope["path"])
        await self._pass(scope, receive, _with_headers(send, [*language.headers]), language)

    def _host_is_ours(self, hosts: list[str], http_version: str) -> bool:
        """Exactly one Host, and ours; HTTP/1.0 knows none, and no browser speaks it."""
        if not hosts:
            return http_version == "1.0"
        return len(hosts) == 1 and self._hosts.allow(hosts[0])

    async def _pass(self, scope: Scope, receive: Receive, send: Send, language: Language) -> None:
        begun = _Begun(send)
        unlimited = self._takes_uploads(scope["path"])
        limit = _BodyLimit(receive, math.inf if unlimited else self._max_body_bytes)
        try:
            if scope["path"] not in _GREETINGS or scope["method"] not in ("GET", "HEAD"):
                scope[PRINCIPAL] = self._admit(scope)
            limit.check_declared(scope["headers"])
            await self._app(scope, limit.receive, begun.send)
        except Exception as failure:  # noqa: BLE001 - the border of a request
            error = as_dimora_error(failure)
            if isinstance(error, BodyTooLarge) and not _values(scope["headers"], b"expect"):
                await limit.drain()
            if not begun.has:
                await send_error(scope, send, error, language.error(error), language.challenge)

    def _admit(self, scope: Scope) -> Any:
        client = scope.get("client")
        peer = read_address(client[0]) if client else None
        # Without keys any credential will do: SDKs insist on sending one.
        credential = read_credential(scope["headers"]) if self._has_keys else None
        return self._house.admit(credential, peer_is_loopback=peer is not None and peer.is_loopback)


def read_credential(headers: Headers) -> str | None:
    """The key in `Authorization: Bearer`, as the password in `Authorization: Basic` (whatever the
    user is called) or, failing these, in `x-api-key`."""
    for value in _values(headers, b"authorization"):
        scheme, _, rest = value.strip().partition(" ")
        read = _CREDENTIALS.get(scheme.lower())
        if read is not None and (key := read(rest.strip())):
            return key
    return next((v.strip() for v in _values(headers, b"x-api-key") if v.strip()), None)


def _password(encoded: str) -> str:
    """The password in the words of RFC 7617, empty when they are none."""
    try:
        text = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
    return text.partition(":")[2]


_CREDENTIALS: dict[str, Callable[[str], str]] = {"bearer": str, "basic": _password}


def _values(headers: Headers, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in headers if key == name]


async def _send_bare(send: Send, status: int, headers: Headers | None = None) -> None:
    """A status and no body."""
    length = [] if status == 204 else [(b"content-length", b"0")]
    headers = [*length, *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _with_headers(send: Send, headers: Headers) -> Send:
    async def send_more(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *headers]
        await send(message)

    return send_more


class _Begun:
    """Remembers whether the response has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has = False

    async def send(self, message: Message) -> None:
        self.has = True
        await self._send(message)


class _BodyLimit:
    """Counts the body as it is read. Raises BodyTooLarge."""

    def __init__(self, receive: Receive, limit_bytes: float) -> None:
        self._receive = receive
        self._limit_bytes = limit_bytes
        self._read_bytes = 0

    def check_declared(self, headers: Headers) -> None:
        for value in _values(headers, b"content-length"):
            if value.isascii() and value.isdigit():
                self._check(int(value))

    async def receive(self) -> Message:
        message = await self._receive()
        self._read_bytes += len(message.get("body", b""))
        self._check(self._read_bytes)
        return message

    async def drain(self) -> None:
        """Read the rest and forget it: many callers read no answer before they have sent all."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                more = True
                while more:
                    message = await self._receive()
                    more = message.get("more_body", False)

    def _check(self, size_bytes: int) -> None:
        if size_bytes > self._limit_bytes:
            raise BodyTooLarge(
                f"the request body is larger than {self._limit_bytes} bytes",
                hint="the setting max_body_bytes is the limit",
            )
