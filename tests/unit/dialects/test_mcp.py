"""What is answered to a message of MCP that has a fault."""

from __future__ import annotations

import json

import pytest

from dimora.core.errors import BadRequest
from dimora.dialects.base import Fixed, Incoming
from dimora.dialects.mcp.messages import decode, decode_line

FAULTS = [
    {"method": "tools/call"},
    {"method": "ping", "params": []},
    {"method": 5},
    {},
    {"method": "ping", "jsonrpc": "1.0"},
]


def incoming(message: object) -> Incoming:
    return Incoming(method="POST", body=json.dumps(message).encode())


@pytest.mark.parametrize("id", [7, "seven", 2**70])
@pytest.mark.parametrize("fault", FAULTS)
def test_the_error_of_a_request_repeats_its_id(id, fault):
    asked = incoming({"jsonrpc": "2.0", "id": id, **fault})
    found = decode(asked)
    assert isinstance(found, Fixed)
    told = json.loads(found.body)
    assert (found.status, told["id"], told["error"]["code"]) == (400, id, -32600)
    assert decode_line(asked).body == found.body + b"\n"


@pytest.mark.parametrize(
    "message",
    [
        [],
        {"jsonrpc": "2.0", "id": True, "method": "ping"},
        {"jsonrpc": "2.0", "id": [1], "method": "ping"},
        {"jsonrpc": "2.0", "method": "tools/call"},
        # An answer: its id is of a request that was never asked from here.
        {"jsonrpc": "2.0", "id": 1, "result": {}},
    ],
)
def test_an_error_names_no_request_where_there_is_none_to_name(message):
    with pytest.raises(BadRequest):
        decode(incoming(message))
    assert json.loads(decode_line(incoming(message)).body)["id"] is None


def test_a_line_says_which_call_it_is_and_which_it_cancels():
    call = {"name": "chat", "arguments": {"model": "m", "prompt": "x"}}
    line = {"jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": call}
    told = decode_line(incoming(line))
    assert (told.id, told.asked is None, told.body, told.cancels) == (4, False, b"", None)
    line = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 4}}
    told = decode_line(incoming(line))
    assert (told.id, told.asked, told.body, told.cancels) == (None, None, b"", 4)
