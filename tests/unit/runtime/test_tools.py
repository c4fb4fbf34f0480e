"""Tools of the settings go through the door: for the terminal only, and recorded by name."""

from __future__ import annotations

import json

import pytest

from dimora.core.errors import ConfigurationError, Forbidden
from dimora.core.settings import Settings
from dimora.core.tool_tables import ToolTable
from dimora.core.types import Principal
from dimora.runtime.house import House
from dimora.tasks.call_tool import CallTool, ToolAnswered
from dimora.tasks.list_tools import ListTools, ToolsListed

ECHO = ToolTable(
    kind="commands",
    name="say",
    values={
        "description": "d",
        "command": ["/bin/echo", "{words}"],
        "parameters": {"words": {"type": "text"}},
    },
)


def who(proof: str, role: str = "owner") -> Principal:
    return Principal(user="ada", workspace="main", roles=(role,), proof=proof)


@pytest.fixture
async def house(tmp_path):
    made = House(Settings(home=tmp_path, models=tmp_path / "models", tools=(ECHO,)))
    await made.start()
    yield made
    await made.close()


async def ask(house, principal, request):
    return [event async for event in house.run(principal, request)]


async def test_a_call_is_recorded_by_the_tools_name_and_never_its_arguments(house):
    asked = CallTool(tool="say", arguments={"words": "canary-4711"})
    (answer, _) = await ask(house, who("terminal"), asked)
    assert isinstance(answer, ToolAnswered)
    assert answer.output.text == "canary-4711\n"
    (line,) = house.settings.audit_path.read_text().splitlines()
    told = json.loads(line)
    assert (told["request"], told["tool"], told["ended"]) == ("call_tool", "say", "done")
    assert "canary" not in line


async def test_the_tools_are_listed(house):
    (listed, _) = await ask(house, who("terminal"), ListTools())
    assert isinstance(listed, ToolsListed)
    assert [(t.name, t.kind, t.trusted) for t in listed.tools] == [("say", "commands", False)]


@pytest.mark.parametrize("principal", [who("loopback"), who("api_key"), who("terminal", "user")])
async def test_whoever_is_not_the_owner_at_the_terminal_neither_sees_nor_calls_one(
    house, principal
):
    for request in (ListTools(), CallTool(tool="say", arguments={"words": "x"})):
        with pytest.raises(Forbidden):
            await ask(house, principal, request)
    ended = [json.loads(line) for line in house.settings.audit_path.read_text().splitlines()]
    assert [line["ended"] for line in ended] == ["forbidden", "forbidden"]


def test_a_table_that_cannot_be_used_stops_the_start(tmp_path):
    with pytest.raises(ConfigurationError, match="'x'"):
        House(Settings(home=tmp_path, tools=(ToolTable(kind="commands", name="x"),)))
