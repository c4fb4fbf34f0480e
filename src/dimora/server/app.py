"""The ASGI application: a route for each line of each dialect's table, behind the gate."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Route, Router, compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from dimora import __version__, dialects
from dimora.core.errors import DimoraError
from dimora.core.settings import Settings
from dimora.server.answering import Endpoint, House, plain_headers, send_whole
from dimora.server.gate import Gate, Language

__all__ = ["House", "build_app"]

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def build_app(house: House, settings: Settings) -> ASGIApp:
    """An application that serves the house; its lifespan starts and closes the house."""
    shelf = dialects.SHELF.all()
    verbs: dict[str, set[str]] = {}
    for dialect in shelf.values():
        for line in dialect.ROUTES:
            verbs.setdefault(line.path, set()).update(line.methods)
    routes: list[BaseRoute] = [
        StrictRoute(line.path, Endpoint(house, line, dialect.error), line.methods, verbs[line.path])
        for dialect in shelf.values()
        for line in dialect.ROUTES
    ]
    routes.append(StrictRoute("/health", Tell(_tell_health, "application/json"), _READ))
    routes.append(StrictRoute("/metrics", Tell(house.metrics, _METRICS_TYPE), _READ))

    @asynccontextmanager
    async def live(_: Any) -> AsyncIterator[None]:
        await house.start()
        try:
            yield
        finally:
            await house.close()

    router = Router(routes, redirect_slashes=False, default=_not_found, lifespan=live)
    uploads = [
        compile_path(line.path)[0]
        for dialect in shelf.values()
        for line in dialect.ROUTES
        if line.uploads
    ]

    def takes_uploads(path: str) -> bool:
        return any(pattern.match(path) for pattern in uploads)

    return Gate(router, house, settings, Languages(shelf).of, takes_uploads=takes_uploads)


_READ = ("GET", "HEAD")


class StrictRoute(Route):
    """A route with exactly the methods it names: Starlette would add HEAD to every GET. `verbs` are
    those of all routes of its path."""

    def __init__(
        self,
        path: str,
        endpoint: ASGIApp,
        methods: tuple[str, ...],
        verbs: Collection[str] = (),
    ) -> None:
        super().__init__(path, endpoint, methods=methods, name=path)
        self.methods = set(methods)
        self._verbs = sorted(verbs or methods)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        methods = self.methods or set()
        if scope["method"] in methods:
            await self.app(scope, receive, send)
            return
        response = PlainTextResponse(
            "405 method not allowed", 405, {"Allow": ", ".join(self._verbs)}
        )
        await response(scope, receive, send)


class Tell:
    """A small thing told in one piece."""

    def __init__(self, tell: Callable[[], bytes], media_type: str) -> None:
        self._tell = tell
        self._media_type = media_type

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = self._tell()
        await send_whole(scope, send, 200, body, plain_headers(self._media_type, body))


def _tell_health() -> bytes:
    return msgspec.json.encode({"status": "ok", "version": __version__})


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await PlainTextResponse("404 page not found", 404)(scope, receive, send)
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})


class Languages:
    """Finds the language of a path, for what is said before any route."""

    def __init__(self, shelf: dict[str, Any]) -> None:
        self._of_path: dict[str, Language] = {}
        self._of_segment: dict[str, Language] = {}
        for dialect in shelf.values():
            language = Language(
                error=dialect.error,
                headers=tuple((n.encode(), v.encode()) for n, v in getattr(dialect, "HEADERS", ())),
                challenge=getattr(dialect, "CHALLENGE", "Bearer"),
            )
            for line in dialect.ROUTES:
                self._of_path[line.path] = language
                self._of_segment.setdefault(_first_segment(line.path), language)

    def of(self, path: str) -> Language:
        return self._of_path.get(path) or self._of_segment.get(_first_segment(path)) or _PLAIN


def _first_segment(path: str) -> str:
    return path.split("/", 2)[1] if path.startswith("/") else path


def _plain_error(error: DimoraError) -> bytes:
    return msgspec.json.encode({"error": error.message})


_PLAIN = Language(error=_plain_error)
