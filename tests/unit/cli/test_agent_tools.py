"""The tools of a run: what a model may tell the house's own, and which a grammar can hold."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from dimora.cli.agent_tools import choose, holdable, known_tools
from dimora.cli.agents import Usable
from dimora.cli.commands import agent
from dimora.core.errors import BadRequest
from dimora.core.types import Done, Event, Request, Tool, ToolCall
from dimora.prompts.forcing import force_call
from dimora.tasks.acting import ToolOutput
from dimora.tasks.generation import CallPiece, GenerationDone
from dimora.tasks.options import Options
from dimora.tasks.ready.base import Answered

FETCH = Tool(
    "web__fetch",
    "",
    {
        "type": "object",
        "properties": {
            "url": {"type": "string", "format": "uri", "minLength": 1},
            "format": {"enum": ["html", "text"], "readOnly": False},
        },
        "required": ["url"],
    },
)
ODD = Tool("web__odd", "", {"type": "object", "not": {}})


class AskedDoor:
    """A door that remembers what it was asked."""

    is_remote = False

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def ask(self, request: Request) -> Iterator[Event]:
        self.requests.append(request)
        yield Answered(result={}, language="en")
        yield Done()


def usable(tool: Tool) -> Usable:
    return Usable(tool=tool, call=lambda _: ToolOutput(text="x"))


def topics(door: AskedDoor) -> Usable:
    return choose(known_tools(door, None, "/mine.gguf")[0], ["topics"])["topics"]


@pytest.mark.parametrize("path", ["/any/path.gguf", "~/x", "./x", "x.GGUF", "C:\\x"])
def test_a_model_opens_no_file_as_a_model(path):
    door = AskedDoor()
    with pytest.raises(BadRequest, match="embedder") as caught:
        topics(door).call({"texts": ["a", "b"], "embedder": path})
    assert path not in caught.value.text
    assert door.requests == []


def test_what_was_not_offered_is_not_taken():
    door = AskedDoor()
    arguments = {"texts": ["a", "b"], "embedder": "bge-m3", "model": "/other.gguf"}
    hidden = {"options": {"num_ctx": 10**6}, "batch": True, "keep_alive": -1}
    tool = topics(door)
    assert not {*hidden, "model"} & set(tool.tool.parameters["properties"])
    tool.call({**arguments, **hidden})
    (asked,) = door.requests
    assert (asked.model, asked.embedder) == ("/mine.gguf", "bge-m3")
    assert (asked.options, asked.batch, asked.keep_alive) == (Options(), False, None)


def test_of_foreign_schemas_only_what_annotates_is_dropped():
    held, left_out = holdable({"web__fetch": usable(FETCH)})
    assert left_out == {}
    properties = held["web__fetch"].tool.parameters["properties"]
    assert properties == {
        "url": {"type": "string", "minLength": 1},
        "format": {"enum": ["html", "text"]},
    }
    force_call("hermes", [held["web__fetch"].tool])


def test_a_schema_that_can_be_held_stays_as_it_is():
    day = usable(Tool("day", "", {"properties": {"day": {"type": "string", "format": "date"}}}))
    assert holdable({"day": day}) == ({"day": day}, {})


def test_a_tool_that_cannot_be_held_is_left_out_and_the_others_stay():
    deep: dict = {}
    for _ in range(3000):
        deep = {"const": deep}
    tools = [FETCH, ODD, Tool("web__deep", "", deep)]
    held, left_out = holdable({tool.name: usable(tool) for tool in tools})
    assert list(held) == ["web__fetch"]
    assert list(left_out) == ["web__odd", "web__deep"]
    assert "'not'" in left_out["web__odd"]


class AnsweringDoor(AskedDoor):
    def ask(self, request: Request) -> Iterator[Event]:
        self.requests.append(request)
        yield CallPiece(index=0, call=ToolCall(id="1", name="answer", arguments={"text": "20"}))
        yield GenerationDone()


@pytest.mark.parametrize(("taught", "forced"), [(False, False), (True, True), (True, False)])
def test_one_tool_that_cannot_be_held_fails_no_request(monkeypatch, capsys, taught, forced):
    shown = SimpleNamespace(can=lambda _: taught, chat_template="", template="", eos_token="")
    monkeypatch.setattr(agent, "pull_if_missing", lambda *_: None)
    monkeypatch.setattr(agent, "ask_one", lambda *_: SimpleNamespace(shown=shown))
    door, tools = AnsweringDoor(), {tool.name: usable(tool) for tool in (FETCH, ODD)}
    flags = {"steps": 1, "result_tokens": 100, "forced": forced, "options": ()}
    agent._work(door, "m", "x", tools, flags)
    (chat,) = door.requests
    names = [tool.name for tool in chat.tools]
    warned = capsys.readouterr().err
    if taught and not forced:
        assert names == ["web__fetch", "web__odd"]
        assert "Warning" not in warned
    else:
        assert names == ["web__fetch", "answer"]
        assert "without the tool web__odd" in warned
        force_call("hermes", chat.tools)
