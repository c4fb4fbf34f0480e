"""A small house of one's own, and a caller who speaks ASGI without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from dimora.core.addresses import Address
from dimora.core.errors import NotAuthenticated
from dimora.core.settings import Settings
from dimora.core.types import Event, Principal, Request

ANNA = Principal(user="anna", workspace="main", roles=("user",), proof="api_key")

Script = Callable[[Request], AsyncIterator[Event]]


class SmallHouse:
    """Answers with the async generator it is given; remembers who asked and how it ended."""

    def __init__(self, settings: Settings, script: Script | None = None) -> None:
        self.settings = settings
        self.script = script
        self.asked: list[tuple[Principal, Request]] = []
        self.credentials: list[tuple[str | None, bool]] = []
        self.ended: list[str] = []
        self.lives: list[str] = []
        self.content: AsyncIterator[bytes] | None = None

    async def run(
        self, principal: Principal, request: Request, content: AsyncIterator[bytes] | None = None
    ) -> AsyncIterator[Event]:
        self.asked.append((principal, request))
        self.content = content
        stream = self.script(request)
        try:
            async for event in stream:
                yield event
            self.ended.append("done")
        except BaseException as failure:
            self.ended.append(type(failure).__name__)
            raise
        finally:
            await stream.aclose()

    def admit(self, credential: str | None, *, peer_is_loopback: bool) -> Principal:
        self.credentials.append((credential, peer_is_loopback))
        if self.settings.api_keys and credential != "right":
            raise NotAuthenticated("a valid API key is needed", hint="send one")
        return ANNA

    def metrics(self) -> bytes:
        return b"dimora_requests_total 1\n"

    async def start(self) -> None:
        self.lives.append("start")

    def prepare(self) -> None:
        self.lives.append("prepare")

    async def tidy(self) -> None:
        self.lives.append("tidy")

    async def close(self) -> None:
        self.lives.append("close")


class Response:
    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.chunks: list[bytes] = []
        self.finished = False
        self.begun = asyncio.Event()
        self.changed = asyncio.Event()
        # Cleared, the caller takes nothing more.
        self.reading = asyncio.Event()
        self.reading.set()

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def header(self, name: str) -> str | None:
        found = [v for k, v in self.headers if k.lower() == name]
        return ", ".join(found) if found else None

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            assert not self.status, "a response began twice"
            self.status = message["status"]
            self.headers = [(k.decode(), v.decode()) for k, v in message["headers"]]
            self.begun.set()
        else:
            assert self.status, "a body came before the start"
            assert not self.finished, "a body came after the end"
            if message.get("body"):
                self.chunks.append(message["body"])
            self.finished = not message.get("more_body", False)
        self.changed.set()
        await self.reading.wait()


class Call:
    """One HTTP request in flight; `leave` is the caller's hanging up."""

    def __init__(self, app: Any, scope: dict[str, Any], body: list[bytes]) -> None:
        self.response = Response()
        self.unread = body
        self._left = asyncio.Event()
        self.task = asyncio.create_task(app(scope, self._receive, self.response.send))

    async def _receive(self) -> dict[str, Any]:
        if self.unread:
            piece = self.unread.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self.unread)}
        await self._left.wait()
        return {"type": "http.disconnect"}

    def leave(self) -> None:
        self._left.set()

    async def finish(self) -> Response:
        await asyncio.wait_for(self.task, 5)
        return self.response


class Caller:
    def __init__(self, app: Any) -> None:
        self.app = app

    def begin(
        self,
        method: str,
        path: str,
        body: bytes | list[bytes] = b"",
        headers: list[tuple[str, str]] | None = None,
        *,
        host: str | None = "localhost:11434",
        client: str = "127.0.0.1",
        http_version: str = "1.1",
        query: str = "",
    ) -> Call:
        named = [("host", host)] if host is not None else []
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "http_version": http_version,
            "query_string": query.encode(),
            "headers": [(k.encode(), v.encode()) for k, v in [*named, *(headers or [])]],
            "client": (client, 40000),
            "server": ("127.0.0.1", 11434),
        }
        return Call(self.app, scope, list(body) if isinstance(body, list) else [body])

    async def call(self, method: str, path: str, *rest: Any, **more: Any) -> Response:
        return await self.begin(method, path, *rest, **more).finish()


@pytest.fixture
def settings() -> Settings:
    return Settings(host=Address("127.0.0.1", 11434))


@pytest.fixture
def make_caller() -> Callable[..., tuple[Caller, SmallHouse]]:
    """A whole application over a small house."""
    from dimora.server.app import build_app

    def make(script: Script | None = None, **changes: Any) -> tuple[Caller, SmallHouse]:
        settings = Settings(**{"host": Address("127.0.0.1", 11434)} | changes)
        house = SmallHouse(settings, script)
        return Caller(build_app(house, settings)), house

    return make
