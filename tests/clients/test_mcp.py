"""The house as a server of tools, asked by the MCP SDK over HTTP and over two streams."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request

import mcp_types
import pytest
from jsonschema import Draft202012Validator
from mcp import Client, StdioServerParameters
from mcp.shared.exceptions import MCPError

from dimora import tasks
from tests.conftest import CHAT_MODEL, environment

# The revision with a handshake, and the one without.
MODES = ["legacy", "2026-07-28", "auto"]


def stdio(home, **extra: str) -> StdioServerParameters:
    return StdioServerParameters(
        command=sys.executable, args=["-m", "dimora", "mcp"], env=environment(home, **extra)
    )


@pytest.mark.parametrize("mode", MODES)
async def test_every_tool_is_listed_with_schemas_that_are_some(server, mode):
    async with Client(f"{server.url}/mcp", mode=mode) as client:
        # Who names a version asks nobody who is there.
        assert mode == "2026-07-28" or client.server_info.name == "dimora"
        listed = (await client.list_tools()).tools
    assert {"chat", *tasks.READY.names()} <= {tool.name for tool in listed}
    for tool in listed:
        Draft202012Validator.check_schema(tool.input_schema)
        assert tool.input_schema["type"] == "object"
        assert tool.description
        if tool.output_schema:
            assert tool.output_schema["type"] == "object"


@pytest.mark.parametrize("mode", MODES)
async def test_a_ready_task_gives_data_that_its_schema_holds(server, mode):
    async with Client(f"{server.url}/mcp", mode=mode) as client:
        await client.list_tools()
        told = await client.call_tool(
            "sentiment", {"model": CHAT_MODEL, "text": "What a lovely, lovely day!"}
        )
    assert not told.is_error
    assert told.structured_content["sentiment"] in ("positive", "neutral", "negative")
    assert json.loads(told.content[0].text) == told.structured_content


async def test_a_chat_answers_and_takes_the_default_model_where_none_is_named(server):
    async with Client(f"{server.url}/mcp") as client:
        told = await client.call_tool(
            "chat", {"prompt": "Say hello", "max_tokens": 8, "temperature": 0}
        )
    assert not told.is_error
    assert told.content[0].text


async def test_progress_is_told_to_who_asks_for_it(server):
    heard: list[float] = []

    async def hear(progress, total, message):
        heard.append(progress)

    async with Client(f"{server.url}/mcp") as client:
        told = await client.call_tool(
            "chat",
            {"prompt": "Count from one to a hundred.", "max_tokens": 60},
            progress_callback=hear,
        )
    assert not told.is_error
    assert heard
    assert heard == sorted(set(heard))


@pytest.mark.parametrize("mode", MODES)
async def test_what_a_model_calls_wrongly_comes_back_in_words(server, mode):
    async with Client(f"{server.url}/mcp", mode=mode) as client:
        missing = await client.call_tool("chat", {"model": "nobody", "prompt": "x"})
        wrong = await client.call_tool("summarize", {"text": 5})
        empty = await client.call_tool("chat", {})
        with pytest.raises(MCPError, match="there is no tool"):
            await client.call_tool("rm", {})
    for told in (missing, wrong, empty):
        assert told.is_error
    assert "nobody" in missing.content[0].text
    assert "text" in wrong.content[0].text


def post(url: str, body: object, **headers: str) -> tuple[int, bytes]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    asked = urllib.request.Request(
        f"{url}/mcp", data, {"Content-Type": "application/json", **headers}
    )
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_the_path_is_behind_the_gate(make_server):
    server = make_server(DIMORA_API_KEYS="ada:0123456789abcdef", DIMORA_ENGINE="echo")
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    status, body = post(server.url, ping)
    assert status == 401
    assert json.loads(body)["error"]["message"]
    key = {"Authorization": "Bearer 0123456789abcdef"}
    assert post(server.url, ping, **key)[0] == 200
    assert post(server.url, ping, **key, Host="evil.example")[0] == 403
    assert post(server.url, ping, **key, Origin="https://evil.example")[0] == 403


def test_messages_that_are_none_and_other_methods_are_told_so(server):
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{server.url}/mcp", timeout=10)
    assert caught.value.code == 405
    status, body = post(server.url, b"{")
    assert (status, json.loads(body)["error"]["code"]) == (400, -32700)
    status, body = post(server.url, [{"jsonrpc": "2.0", "id": 1, "method": "ping"}])
    assert (status, json.loads(body)["error"]["code"]) == (400, -32600)
    status, body = post(server.url, {"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert (status, body) == (202, b"")
    status, body = post(server.url, {"jsonrpc": "2.0", "id": 7, "method": "prompts/list"})
    told = json.loads(body)
    assert (status, told["id"], told["error"]["code"]) == (200, 7, -32601)


def test_every_version_with_a_handshake_is_spoken_and_an_unknown_one_gets_the_newest(server):
    for version in ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "1999-01-01"):
        params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {}}
        asked = {"jsonrpc": "2.0", "id": "a", "method": "initialize", "params": params}
        told = json.loads(post(server.url, asked)[1])
        spoken = told["result"]["protocolVersion"]
        assert spoken == ("2025-11-25" if version == "1999-01-01" else version)
    status, body = post(
        server.url,
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        **{"Mcp-Protocol-Version": "1999-01-01"},
    )
    assert status == 400
    assert json.loads(body)["error"]["code"] == mcp_types.UNSUPPORTED_PROTOCOL_VERSION


def test_headers_that_contradict_the_body_are_refused(server):
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": "chat", "arguments": {"prompt": "x"}, "_meta": meta}
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    right = {"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "sql"}
    status, body = post(server.url, asked, **right)
    assert (status, json.loads(body)["error"]["code"]) == (400, mcp_types.HEADER_MISMATCH)


@pytest.mark.parametrize("mode", MODES)
async def test_a_desktop_client_starts_the_command_without_a_server(home, mode):
    async with Client(stdio(home), mode=mode) as client:
        assert "chat" in {tool.name for tool in (await client.list_tools()).tools}
        told = await client.call_tool("chat", {"prompt": "Say hello", "max_tokens": 4})
        assert not told.is_error
        assert (await client.call_tool("chat", {"model": "nobody", "prompt": "x"})).is_error


async def test_the_command_asks_the_running_server(server):
    host = server.url.removeprefix("http://")
    async with Client(stdio(server.home, DIMORA_HOST=host)) as client:
        told = await client.call_tool("chat", {"prompt": "Say hello", "max_tokens": 4})
    assert not told.is_error
    line = (server.home / "log" / "audit.jsonl").read_text().splitlines()[-1]
    assert json.loads(line)["request"] == "chat"
    assert json.loads(line)["proof"] == "loopback"


def test_nothing_but_messages_is_on_standard_output_and_nonsense_ends_nothing(tmp_path):
    lines = [
        b"not json",
        b"[]",
        b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}',
        b'{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 9}}',
        b'{"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params":'
        b' {"name": "chat", "arguments": {"model": "nobody", "prompt": "x"}}}',
    ]
    done = subprocess.run(
        [sys.executable, "-m", "dimora", "mcp"],
        input=b"\n".join(lines) + b"\n",
        env=environment(tmp_path),
        capture_output=True,
        timeout=60,
        check=True,
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [t.get("id") for t in told] == [None, None, 1, 2]
    assert told[-1]["result"]["isError"] is True
