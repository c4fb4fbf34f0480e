"""What a peer may send before anything is asked of the house, and how long it may take."""

from __future__ import annotations

import asyncio

import pytest
import uvicorn
from uvicorn.server import ServerState

from dimora.server import connections
from dimora.server.connections import HEAD_BYTES, BoundedHttp

HEAD = b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
WHOLE = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Transport(asyncio.Transport):
    """Remembers what was written, and how it ended."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.ended = ""
        self.protocol: asyncio.Protocol | None = None

    def write(self, data) -> None:
        self.written += data

    def close(self) -> None:
        self._end("closed")

    def abort(self) -> None:
        self._end("aborted")

    def _end(self, how: str) -> None:
        if not self.ended:
            self.ended = how
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def is_closing(self) -> bool:
        return bool(self.ended)

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Peer:
    """One connection, and the application behind it."""

    def __init__(self, app=None, protocol=BoundedHttp, state=None) -> None:
        self.asked: list[dict] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.transport = Transport()
        config = uvicorn.Config(
            app or self._app, ws="none", interface="asgi3", proxy_headers=False, log_config=None
        )
        self.protocol = protocol(config, state or ServerState(), {})
        self.transport.protocol = self.protocol
        self.protocol.connection_made(self.transport)

    async def _app(self, scope, receive, send) -> None:
        self.asked.append(scope)
        await self.may_answer.wait()
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    async def say(self, data: bytes, piece_bytes: int = 0) -> None:
        size = piece_bytes or len(data) or 1
        for at in range(0, len(data), size):
            if self.transport.ended:
                break
            self.protocol.data_received(data[at : at + size])
            await turn()

    @property
    def ended(self) -> str:
        return self.transport.ended

    @property
    def written(self) -> bytes:
        return self.transport.written


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


ENDLESS = [
    pytest.param(b"GET /" + b"a" * HEAD_BYTES, id="url"),
    pytest.param(HEAD + b"a" * HEAD_BYTES, id="name"),
    pytest.param(HEAD + b"a: " + b"b" * HEAD_BYTES, id="value"),
    pytest.param(HEAD + b"a: b\r\n" * (HEAD_BYTES // 6), id="headers"),
    pytest.param(b"\r\n" * HEAD_BYTES, id="empty lines"),
]


@pytest.mark.parametrize("head", ENDLESS)
@pytest.mark.parametrize("piece_bytes", [0, 1000])
async def test_a_head_without_end_is_refused_before_it_costs_anything(head, piece_bytes):
    peer = Peer()
    await peer.say(head + b"c" * HEAD_BYTES, piece_bytes)
    assert peer.written.startswith(b"HTTP/1.1 431 ")
    assert peer.ended == "closed"
    assert peer.asked == []


async def test_a_head_that_is_long_and_not_too_long_passes_and_each_is_counted_anew():
    peer = Peer()
    value = b"v" * (HEAD_BYTES - len(WHOLE) - 5)
    head = WHOLE[:-2] + b"x: " + value + b"\r\n\r\n"
    assert len(head) == HEAD_BYTES
    for _ in range(3):
        await peer.say(head, 10_000)
    assert (len(peer.asked), peer.ended) == (3, "")
    assert peer.written.count(b"HTTP/1.1 200 ") == 3


@pytest.mark.parametrize("piece_bytes", [0, 1, 4096])
async def test_a_body_is_no_head_however_it_comes(piece_bytes):
    size = 3 * HEAD_BYTES if piece_bytes != 1 else 2000
    got = []

    async def read(scope, receive, send):
        more = True
        while more:
            message = await receive()
            got.append(message["body"])
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    plain = HEAD + b"Content-Length: %d\r\n\r\n" % size + b"b" * size
    chunks = CHUNKED + b"10\r\n" + b"b" * 16 + b"\r\n"
    chunks += b"10\r\n" + b"b" * 16 + b"\r\n0\r\n\r\n"
    peer = Peer(read)
    await peer.say(plain + chunks + plain, piece_bytes)
    for _ in range(20):
        await turn()
    assert len(b"".join(got)) == 2 * size + 32
    assert (peer.ended, peer.written.count(b"HTTP/1.1 200 ")) == ("", 3)


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(b"0\r\n" + b"a: " + b"b" * HEAD_BYTES, id="trailer"),
        pytest.param(b"0\r\n" + b"a: b\r\n" * HEAD_BYTES, id="trailers"),
        pytest.param(b"1;" + b"e" * HEAD_BYTES, id="extension of a chunk"),
    ],
)
@pytest.mark.parametrize("answered", [True, False])
async def test_what_frames_a_body_has_an_end_too(rest, answered):
    peer = Peer()
    if not answered:
        peer.may_answer.clear()
    await peer.say(CHUNKED)
    await peer.say(rest + b"c" * HEAD_BYTES, 5000)
    assert peer.ended == "closed"
    # What is being answered is not answered in other words as well.
    assert peer.written.count(b"HTTP/1.1 431 ") == (1 if answered else 0)


async def test_a_trailer_is_no_header():
    peer = Peer()
    await peer.say(CHUNKED + b"0\r\nx-api-key: stolen\r\n\r\n" + WHOLE)
    assert [name for name, _ in peer.asked[0]["headers"]] == [b"host", b"transfer-encoding"]
    assert [name for name, _ in peer.asked[1]["headers"]] == [b"host"]


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.02)
    monkeypatch.setattr(connections, "READING_SECONDS", 0.02)


async def _ends(peer: Peer) -> None:
    async with asyncio.timeout(2):
        while not peer.ended:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([b""], id="nothing"),
        pytest.param([HEAD], id="half a head"),
        pytest.param([b"\r\n"], id="an empty line"),
        pytest.param([WHOLE, b"\r\n"], id="an empty line after a request"),
        pytest.param([WHOLE, HEAD], id="half a head after a request"),
        pytest.param([WHOLE + HEAD], id="half a head together with a request"),
        pytest.param([WHOLE + WHOLE + b"G"], id="a letter after two requests"),
    ],
)
async def test_who_does_not_finish_a_head_is_cut_off(soon, parts):
    peer = Peer()
    for part in parts:
        await peer.say(part)
    await _ends(peer)
    assert peer.ended == "aborted"
    assert len(peer.asked) == b"".join(parts).count(WHOLE)


async def test_a_head_that_drips_is_cut_off_all_the_same(soon):
    peer = Peer()
    async with asyncio.timeout(2):
        while not peer.ended:
            await peer.say(b"G" if not peer.asked else b"")
            await asyncio.sleep(0.004)
    assert peer.asked == []


async def test_who_was_answered_early_and_never_ends_the_body_is_cut_off(soon):
    peer = Peer()
    await peer.say(HEAD + b"Content-Length: 9999\r\n\r\n")
    async with asyncio.timeout(2):
        while not peer.ended:
            await peer.say(b"b")
            await asyncio.sleep(0.004)
    assert b" 200 " in peer.written


@pytest.mark.parametrize("more", [b"", HEAD])
async def test_whoever_waits_for_an_answer_is_not_cut_off(soon, more):
    peer = Peer()
    peer.may_answer.clear()
    await peer.say(WHOLE + more)
    await asyncio.sleep(0.1)
    assert peer.ended == ""
    peer.may_answer.set()
    await turn()
    assert b" 200 " in peer.written


async def test_who_has_a_connection_open_between_two_requests_keeps_it(soon):
    peer = Peer()
    await peer.say(WHOLE)
    await asyncio.sleep(0.1)
    await peer.say(WHOLE)
    assert (peer.ended, len(peer.asked)) == ("", 2)


async def test_who_takes_nothing_is_cut_off_and_who_takes_something_is_not(soon):
    slow, deaf = Peer(), Peer()
    for peer in (slow, deaf):
        peer.may_answer.clear()
        await peer.say(WHOLE)
        peer.protocol.pause_writing()
    slow.protocol.resume_writing()
    await _ends(deaf)
    assert (deaf.ended, slow.ended) == ("aborted", "")
    for peer in (slow, deaf):
        peer.may_answer.set()
        await turn()


async def test_no_more_connections_are_let_in_than_there_may_be():
    class Two(BoundedHttp):
        most_connections = 2

    state = ServerState()
    first, second, third = (Peer(protocol=Two, state=state) for _ in range(3))
    assert [peer.ended for peer in (first, second, third)] == ["", "", "aborted"]
    first.transport.close()
    await turn()
    fourth = Peer(protocol=Two, state=state)
    assert fourth.ended == ""


async def test_a_connection_that_ended_leaves_no_timer(soon):
    peer = Peer()
    await peer.say(HEAD)
    peer.protocol.pause_writing()
    aborted = []
    peer.transport.abort = lambda: aborted.append(True)
    peer.transport.close()
    await asyncio.sleep(0.05)
    assert aborted == []
