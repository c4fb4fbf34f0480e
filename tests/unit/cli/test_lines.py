"""Messages of MCP as lines: what ends a call, and what ends nothing."""

from __future__ import annotations

import io
import json
import threading

import pytest

from dimora.cli.door import Ending
from dimora.cli.lines import LineServer
from dimora.core.errors import Cancelled
from dimora.core.settings import load_settings

PING = b'{"jsonrpc": "2.0", "id": "last", "method": "ping"}\n'
CALL = (
    b'{"jsonrpc": "2.0", "id": 4, "method": "tools/call", "params":'
    b' {"name": "chat", "arguments": {"model": "m", "prompt": "x"}}}\n'
)
CANCEL = b'{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 4}}\n'


class SilentDoor:
    """A door behind which no event ever comes: it only ends when it is told to."""

    is_remote = False

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.ended = threading.Event()

    def ask(self, request, ending: Ending):
        ending.by(self.ended.set)
        self.asked.set()
        assert self.ended.wait(10), "nobody ended the call"
        raise Cancelled("the call was ended")
        yield


def serve(tmp_path, door: SilentDoor, source) -> list[dict]:
    target = io.BytesIO()
    settings = load_settings({"home": str(tmp_path)}, {})[0]
    LineServer(door, settings, target).serve(source)
    return [json.loads(line) for line in target.getvalue().splitlines()]


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc": "2.0", "method": "notifications/initialized", "params": null}',
        b'{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": null}',
        b'{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": [1]}}',
    ],
)
def test_a_notification_that_says_nothing_ends_nothing(tmp_path, line):
    told = serve(tmp_path, SilentDoor(), io.BytesIO(line + b"\n" + PING))
    assert told == [{"jsonrpc": "2.0", "id": "last", "result": {}}]


class Patient:
    """A source whose later lines come when the call is worked on."""

    def __init__(self, door: SilentDoor, then: bytes) -> None:
        self._door = door
        self._lines = [CALL, then]

    def readline(self, limit: int) -> bytes:
        if not self._lines:
            return b""
        if len(self._lines) == 1:
            assert self._door.asked.wait(10)
        line = self._lines.pop(0)
        if not line:
            raise KeyboardInterrupt
        return line


def test_a_call_that_is_cancelled_ends_while_no_event_comes_and_is_not_answered(tmp_path):
    door = SilentDoor()
    assert serve(tmp_path, door, Patient(door, CANCEL)) == []
    assert door.ended.is_set()


def test_an_interrupt_ends_the_calls_that_are_worked_on(tmp_path):
    door = SilentDoor()
    with pytest.raises(KeyboardInterrupt):
        serve(tmp_path, door, Patient(door, b""))
    assert door.ended.is_set()
