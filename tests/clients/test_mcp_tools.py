"""Tools of an MCP server at an address: the house itself, asked over HTTP as any other server."""

from __future__ import annotations

import json

import pytest

from dimora.core.errors import SourceFailed
from dimora.core.tool_tables import ToolTable
from dimora.tools.toolbox import Toolbox
from tests.conftest import CHAT_MODEL, run_dimora


def house_at(url: str, **values) -> Toolbox:
    return Toolbox((ToolTable(kind="mcp", name="house", values={"url": f"{url}/mcp", **values}),))


async def names_of(box: Toolbox) -> set[str]:
    offered, silent = await box.offered()
    assert not silent
    return {one.name for one in offered}


async def test_its_tools_are_offered_called_and_narrowed(server):
    assert {"house__chat", "house__sentiment"} <= await names_of(house_at(server.url))
    box = house_at(server.url, only=["sentiment"])
    assert await names_of(box) == {"house__sentiment"}
    words = {"model": CHAT_MODEL, "text": "What a lovely, lovely day!"}
    output = await box.call("house__sentiment", words)
    assert not output.failed
    assert json.loads(output.text)["sentiment"] in ("positive", "neutral", "negative")


async def test_a_key_goes_with_every_request_and_without_one_nothing_comes(make_server):
    server = make_server(DIMORA_ENGINE="echo", DIMORA_API_KEYS="me:the-secret-key-of-mine")
    with pytest.raises(SourceFailed, match="the server of house cannot be used"):
        await house_at(server.url).call("house__chat", {"prompt": "x"})
    box = house_at(server.url, headers={"Authorization": "Bearer the-secret-key-of-mine"})
    output = await box.call("house__chat", {"prompt": "x", "model": CHAT_MODEL})
    assert not output.failed and output.text


def test_an_agent_works_with_them(server, home):
    (home / "dimora.toml").write_text(
        '[[tools]]\nkind = "mcp"\nname = "house"\ntrusted = true\nonly = ["sentiment"]\n'
        f'url = "{server.url}/mcp"\n'
    )
    told = run_dimora("agent", "--list", home=home)
    assert "house__sentiment" in told.stdout
