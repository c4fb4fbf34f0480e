"""The requests to a llama-server, with one that only waits."""

from __future__ import annotations

import http.client
import threading
from typing import Any

import pytest

from dimora.core.errors import InternalError
from dimora.engines import llama_cpp
from dimora.engines.base import Cancellation, ModelFiles
from dimora.tasks.base import Embedded, TextsToEmbed
from dimora.tasks.options import LoadOptions


class Waiting:
    """A connection that is answered only when it is cut, by being closed."""

    asked = threading.Event()

    def __init__(self, address: str) -> None:
        self.is_cut = threading.Event()

    def connect(self) -> None: ...

    def request(self, method: str, path: str, body: str, headers: dict[str, str]) -> None:
        self.asked.set()

    def getresponse(self) -> http.client.HTTPResponse:
        self.is_cut.wait(10)
        raise http.client.RemoteDisconnected

    def cut(self) -> None:
        self.is_cut.set()

    def close(self) -> None: ...


class Server:
    version = "0"

    def check(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> llama_cpp.LlamaCpp:
    monkeypatch.setattr(llama_cpp, "Connection", Waiting)
    monkeypatch.setattr(Waiting, "asked", threading.Event())
    setup = llama_cpp._Setup(
        files=ModelFiles(),
        options=LoadOptions(num_ctx=64),
        address="",
        key="",
        embedding=True,
    )
    return llama_cpp.LlamaCpp(Server(), setup)


def test_a_cancelled_embedding_cuts_its_connection(engine: llama_cpp.LlamaCpp) -> None:
    cancel = Cancellation()
    told: list[Embedded] = []
    wanted = TextsToEmbed(texts=("a",) * 40, window=64)
    thread = threading.Thread(target=lambda: told.append(engine.embed(wanted, cancel)))
    thread.start()
    assert Waiting.asked.wait(10)
    cancel.cancel()
    thread.join(5)
    assert not thread.is_alive()
    assert told[0].vectors == ()


def test_a_connection_that_breaks_by_itself_is_an_error(
    engine: llama_cpp.LlamaCpp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(self: Any) -> None:
        raise http.client.RemoteDisconnected

    monkeypatch.setattr(Waiting, "getresponse", break_off)
    with pytest.raises(InternalError):
        engine.embed(TextsToEmbed(texts=("a",), window=64), Cancellation())
