"""Uploads that break: nothing of them is left, and the server goes on."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Server, serving

DATA = b"weights" * 500_000
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("own") / "home") as running:
        yield running


def left(server: Server) -> list[str]:
    return [path.name for path in Path(server.home / "models" / "blobs").glob("*")]


def wait_until(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < give_up, "it did not come true in time"
        time.sleep(0.02)


def ask(server: Server, method: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request(method, f"/api/blobs/{DIGEST}", body, headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, text


@pytest.mark.parametrize("sent", [0, 1, 100_000, len(DATA) - 1])
def test_a_sender_who_dies_leaves_nothing(own: Server, sent: int) -> None:
    with socket.create_connection(("127.0.0.1", own.port)) as raw:
        head = f"POST /api/blobs/{DIGEST} HTTP/1.1\r\nHost: localhost\r\n"
        raw.sendall(f"{head}Content-Length: {len(DATA)}\r\n\r\n".encode() + DATA[:sent])
        if sent:
            wait_until(lambda: any(name.startswith("tmp-") for name in left(own)))
    wait_until(lambda: left(own) == [])
    assert ask(own, "HEAD")[0] == 404


def test_other_bytes_than_promised_leave_nothing(own: Server) -> None:
    status, text = ask(own, "POST", DATA[:-1] + b"X")
    assert status == 400
    assert json.loads(text)["error"].startswith(f'digest mismatch, expected "{DIGEST}", got "sha')
    assert left(own) == []


def test_what_cannot_fit_is_refused_before_it_is_sent(own: Server) -> None:
    with socket.create_connection(("127.0.0.1", own.port), timeout=10) as raw:
        head = f"POST /api/blobs/{DIGEST} HTTP/1.1\r\nHost: localhost\r\n"
        raw.sendall(f"{head}Content-Length: {10**17}\r\n\r\n".encode())
        answer = b""
        while b"}" not in answer:
            answer += raw.recv(65536)
    assert answer.startswith(b"HTTP/1.1 507 ")
    assert b"are free" in answer
    assert left(own) == []


def test_two_senders_of_one_file_do_not_meet(own: Server) -> None:
    first, second = (http.client.HTTPConnection("127.0.0.1", own.port) for _ in range(2))
    half = len(DATA) // 2
    for connection in (first, second):
        connection.putrequest("POST", f"/api/blobs/{DIGEST}")
        connection.putheader("Content-Length", str(len(DATA)))
        connection.endheaders()
        connection.send(DATA[:half])
    for connection in (second, first):
        connection.send(DATA[half:])
        assert connection.getresponse().status == 201
        connection.close()
    assert left(own) == [DIGEST.replace(":", "-")]
    assert ask(own, "POST", DATA)[0] == 200


def test_a_blob_that_was_damaged_is_brought_anew(own: Server) -> None:
    ask(own, "POST", DATA)
    blob = own.home / "models" / "blobs" / DIGEST.replace(":", "-")
    blob.write_bytes(b"X" + DATA[1:])
    assert ask(own, "HEAD")[0] == 404
    assert ask(own, "POST", DATA)[0] == 201
    assert blob.read_bytes() == DATA
    assert ask(own, "HEAD")[0] == 200
