"""Peers who send without end, or hardly at all, or take nothing: over real sockets, with no key."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn

from dimora.server import connections
from dimora.server.connections import HEAD_BYTES, BoundedHttp
from tests.conftest import serving

HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
KEYS = "anna:anna-key-0123456789"


LOOPS = [pytest.param(asyncio.run, id="asyncio")]
with contextlib.suppress(ImportError):
    import uvloop

    LOOPS.append(pytest.param(uvloop.run, id="uvloop"))


def test_a_real_server_refuses_a_head_without_end_and_goes_on_answering(tmp_path):
    with serving(tmp_path / "home", DIMORA_ENGINE="echo", DIMORA_API_KEYS=KEYS) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as peer:
            peer.sendall(HEAD + b"x: " + b"a" * HEAD_BYTES)
            answer = peer.recv(1000)
        assert answer.startswith(b"HTTP/1.1 431 ")
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=20) as peer,
            contextlib.suppress(ConnectionError),
        ):
            peer.sendall(HEAD + b"x: ")
            for _ in range(1000):
                peer.sendall(b"a" * 100_000)
            pytest.fail("a hundred megabytes without an end of the head were taken")
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        for _ in range(2):
            connection.request("GET", "/health")
            answered = connection.getresponse()
            assert (answered.status, bool(answered.read())) == (200, True)
        connection.close()
        assert "Traceback" not in server.log


@pytest.mark.parametrize("run", LOOPS)
@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(HEAD, id="half a head"),
        pytest.param(HEAD + b"Content-Length: 9\r\n\r\n1", id="a body after its answer"),
    ],
)
def test_who_never_ends_what_they_say_is_let_go(run, said, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.1)

    async def try_it() -> None:
        async with _serving(_answer) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(said)
            async with asyncio.timeout(5):
                with contextlib.suppress(ConnectionError):
                    while await reader.read(1000):
                        pass
            writer.close()

    run(try_it())


@pytest.mark.parametrize("run", LOOPS)
def test_who_takes_nothing_of_an_answer_is_let_go_and_the_answer_ends(run, monkeypatch):
    monkeypatch.setattr(connections, "READING_SECONDS", 0.1)

    async def try_it() -> None:
        ended = asyncio.Event()

        async def endless(scope, receive, send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            leaving = asyncio.create_task(_until_gone(receive))
            while not leaving.done():
                body = {"type": "http.response.body", "body": b"a" * 100_000, "more_body": True}
                await send(body)
            ended.set()

        async with _serving(endless) as port:
            with socket.create_connection(("127.0.0.1", port)) as peer:
                peer.sendall(HEAD + b"\r\n")
                await asyncio.wait_for(ended.wait(), 10)

    run(try_it())


@pytest.mark.parametrize("run", LOOPS)
def test_five_hundred_may_wait_at_once_and_those_beyond_the_bound_are_not_let_in(run):
    async def try_it() -> None:
        go_on = asyncio.Event()
        waiting = asyncio.Semaphore(0)

        async def wait(scope, receive, send) -> None:
            waiting.release()
            await go_on.wait()
            await _answer(scope, receive, send)

        async with _serving(wait, most_connections=500) as port, contextlib.AsyncExitStack() as all:
            peers = []
            for _ in range(500):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                all.callback(writer.close)
                writer.write(HEAD + b"\r\n")
                peers.append(reader)
            async with asyncio.timeout(30):
                for _ in peers:
                    await waiting.acquire()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                all.callback(writer.close)
                with contextlib.suppress(ConnectionError):
                    assert await reader.read(1) == b""
                go_on.set()
                for reader in peers:
                    assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")

    run(try_it())


async def _answer(scope, receive, send) -> None:
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


async def _until_gone(receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@contextlib.asynccontextmanager
async def _serving(app, most_connections: int = 1000) -> AsyncIterator[int]:
    """Our connections under uvicorn's server, on a port of its own."""
    kind = type("Connection", (BoundedHttp,), {"most_connections": most_connections})
    config = uvicorn.Config(
        app, http=kind, ws="none", lifespan="off", log_config=None, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext
    with socket.create_server(("127.0.0.1", 0), backlog=600) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await task
