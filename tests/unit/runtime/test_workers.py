"""The server's end of a worker's pipe."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from dimora.core.errors import WorkerDied
from dimora.core.frames import pack
from dimora.core.settings import Settings
from dimora.ledger.ledger import Ledger
from dimora.runtime import messages
from dimora.runtime.lending import Lending
from dimora.runtime.workers import _Pipe


@pytest.fixture
async def pipe():
    """Ours, and the other end."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    _, protocol = await asyncio.get_running_loop().create_unix_connection(_Pipe, sock=ours)
    yield protocol, theirs
    protocol.close()
    theirs.close()


def failed(id_: int, message: str) -> bytes:
    return pack(messages.Failed(id=id_, kind="WorkerDied", code="x", message=message, hint=""))


async def test_an_engine_that_is_beyond_help_is_gone_before_anybody_hears_of_it(pipe):
    protocol, theirs = pipe
    first, second = protocol.open_request(), protocol.open_request()
    heard = []
    protocol.closed.add_done_callback(lambda _: heard.append("the scheduler"))

    async def wait(asked) -> None:
        with pytest.raises(WorkerDied):
            await asked.next()
        heard.append("a request")

    waiting = asyncio.gather(wait(first), wait(second))
    theirs.sendall(failed(first.id, "the engine ended"))
    await asyncio.wait_for(waiting, 5)
    assert heard == ["the scheduler", "a request", "a request"]
    with pytest.raises(WorkerDied):
        protocol.open_request()


async def test_why_a_model_could_not_be_loaded_is_told_in_the_engines_words(pipe):
    protocol, theirs = pipe
    loading = protocol.open_request(0)
    theirs.sendall(failed(0, "the engine ended while it read the file"))
    with pytest.raises(WorkerDied, match="while it read the file"):
        await asyncio.wait_for(loading.next(), 5)
    assert not protocol.closed.done()


async def test_a_worker_that_ended_by_itself_is_not_stopped_once_more(tmp_path: Path):
    lending = Lending(Settings(home=tmp_path), Ledger(), lambda model: None)
    await lending._stop("nobody")
    assert lending.requests() == 0
