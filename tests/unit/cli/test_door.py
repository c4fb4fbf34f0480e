from __future__ import annotations

import asyncio
import http.client
import threading

import msgspec
import pytest

from dimora.cli.door import Ending, HouseDoor, ServerDoor, _Answer, read_events, read_refusal
from dimora.core.addresses import Address
from dimora.core.errors import Cancelled, InternalError, NotAuthenticated, NotFound
from dimora.core.frames import pack
from dimora.core.settings import load_settings
from dimora.core.types import Done
from dimora.dialects.native import failure_of
from dimora.tasks.generation import GenerationDone, TextPiece, ThoughtPiece
from dimora.tasks.list_models import ListModels, ModelsFound
from dimora.tasks.show_model import ShowModel

ANSWER = [ThoughtPiece(text="hm"), TextPiece(text="è così"), GenerationDone(reason="stop")]
BYTES = b"".join(pack(event) for event in ANSWER)


@pytest.mark.parametrize("size", [1, 3, 7, 64, len(BYTES)])
def test_an_answer_is_read_however_it_was_cut(size):
    pieces = [BYTES[at : at + size] for at in range(0, len(BYTES), size)]
    assert list(read_events(pieces)) == ANSWER


@pytest.mark.parametrize("missing", [1, len(pack(ANSWER[-1]))])
def test_an_answer_without_its_end_is_an_error(missing):
    events = read_events([BYTES[:-missing]])
    assert [next(events), next(events)] == ANSWER[:2]
    with pytest.raises(InternalError, match="broke off"):
        next(events)


def test_an_error_in_the_middle_is_raised_as_what_it_was():
    failure = failure_of(NotFound("model 'x' not found", hint="pull it", code="model_not_found"))
    events = read_events([pack(ANSWER[0]), pack(failure)])
    assert next(events) == ANSWER[0]
    with pytest.raises(NotFound) as caught:
        next(events)
    assert (caught.value.code, caught.value.hint) == ("model_not_found", "pull it")


@pytest.mark.parametrize("data", [b"<html>not ours</html>", b"\0\0\0\1\xc1", pack({"type": "new"})])
def test_bytes_that_are_not_ours_are_refused_with_a_hint(data):
    with pytest.raises(InternalError) as caught:
        list(read_events([data]))
    assert "version" in caught.value.hint


def test_a_refusal_is_the_servers_own_error():
    error = read_refusal(401, msgspec.json.encode(failure_of(NotAuthenticated("who is there?"))))
    assert isinstance(error, NotAuthenticated)
    assert error.message == "who is there?"
    assert "$DIMORA_API_KEY" in error.hint


def test_a_refusal_that_is_not_ours_says_its_status():
    assert "502" in read_refusal(502, b"<html>Bad gateway</html>").message


@pytest.fixture
def door(tmp_path):
    with HouseDoor(load_settings({"home": str(tmp_path)}, {})[0]) as opened:
        yield opened


def test_a_house_in_this_process_answers_one_thing_after_another(door):
    for _ in range(2):
        found, done = door.ask(ListModels())
        assert found == ModelsFound(models=())
        assert isinstance(done, Done)


def test_an_error_of_the_house_is_raised_here_and_the_door_stays_open(door):
    with pytest.raises(NotFound):
        list(door.ask(ShowModel(model="nobody")))
    assert list(door.ask(ListModels()))


def test_a_door_can_be_closed_unused_and_its_thread_ends(tmp_path):
    settings = load_settings({"home": str(tmp_path)}, {})[0]
    HouseDoor(settings).close()
    before = threading.active_count()
    with HouseDoor(settings) as used:
        list(used.ask(ListModels()))
        assert threading.active_count() > before
    assert threading.active_count() == before


def test_a_door_closes_quietly_on_an_answer_that_still_runs(door, caplog):
    steps = []

    async def endless():
        try:
            yield TextPiece(text="so far")
            await asyncio.Event().wait()
        finally:
            steps.append("closed")

    list(door.ask(ListModels()))
    # As after a second Ctrl-C, which interrupts the wait for the end of the answer.
    answer = _Answer(door._loop, endless())
    assert next(answer.events()) == TextPiece(text="so far")
    door.close()
    assert steps == ["closed"]
    assert [record for record in caplog.records if record.name == "asyncio"] == []


@pytest.fixture
def loop():
    """A loop on a thread of its own."""
    running = asyncio.new_event_loop()
    thread = threading.Thread(target=running.run_forever)
    thread.start()
    yield running
    running.call_soon_threadsafe(running.stop)
    thread.join()
    running.close()


@pytest.mark.parametrize("heard", [0, 1])
def test_an_answer_nobody_hears_is_cancelled_and_closed_before_end_returns(loop, heard):
    steps = []

    async def endless():
        try:
            yield TextPiece(text="so far")
            await asyncio.Event().wait()
        finally:
            steps.append("closed")

    answer = _Answer(loop, endless())
    events = answer.events()
    for _ in range(heard):
        assert next(events) == TextPiece(text="so far")
    answer.end()
    answer.end()
    # One that was given up before it began has nothing to close.
    assert steps == ["closed"] if heard else steps in ([], ["closed"])


@pytest.mark.parametrize("when", ["before it is asked", "while it works"])
def test_an_answer_that_says_nothing_is_ended_from_another_thread(door, monkeypatch, when):
    steps = []
    working = threading.Event()

    async def silent(principal, request):
        steps.append("begun")
        try:
            working.set()
            await asyncio.wait_for(asyncio.Event().wait(), 10)
            yield TextPiece(text="never")
        finally:
            steps.append("closed")

    monkeypatch.setattr(door._started(), "run", silent)
    ending = Ending()
    if when == "before it is asked":
        working.set()
    thread = threading.Thread(target=lambda: (working.wait(10), ending.come()))
    thread.start()
    if when == "before it is asked":
        thread.join()
    with pytest.raises(Cancelled):
        list(door.ask(ListModels(), ending))
    thread.join()
    # One that was given up before it began has nothing to close.
    assert steps in ([], ["begun", "closed"])


class SilentConnection:
    """A server that is asked and never answers; reading ends when the line is shut."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.shut = threading.Event()
        self.sock = None

    def connect(self) -> None:
        self.sock = self

    def shutdown(self, how) -> None:
        self.shut.set()

    def request(self, *what) -> None:
        self.asked.set()

    def getresponse(self):
        assert self.shut.wait(10)
        raise http.client.RemoteDisconnected

    def close(self) -> None:
        # As http.client does, while the answer still holds the socket.
        self.sock = None


def test_a_server_that_says_nothing_is_left_from_another_thread(monkeypatch):
    connection, ending = SilentConnection(), Ending()
    door = ServerDoor(Address("127.0.0.1", 1))
    monkeypatch.setattr(door, "_connect", lambda: connection)
    thread = threading.Thread(target=lambda: (connection.asked.wait(10), ending.come()))
    thread.start()
    with pytest.raises(InternalError, match="broke off"):
        list(door.ask(ListModels(), ending))
    thread.join()
    assert connection.shut.is_set()
