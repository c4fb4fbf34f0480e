"""The vector that is run: as many elements as the settings say, whatever a model writes."""

from __future__ import annotations

import pytest

from dimora.core.errors import BadRequest, ConfigurationError
from dimora.core.tool_tables import ToolTable
from dimora.tools import commands


def table(**values) -> ToolTable:
    values = {"description": "d", "command": ["/bin/echo"], **values}
    return ToolTable(kind="commands", name="say", values=values)


SAY = commands.read(
    table(
        command=["/bin/echo", "-n", "--to={who}", "{words}", "pre-{words}-post"],
        parameters={"who": {"type": "text", "optional": True}, "words": {"type": "text"}},
    )
)


@pytest.mark.parametrize("words", ["; rm -rf /", "a b  c", "$(x)", "", "{who}", '"', "|"])
def test_a_value_stays_in_its_element(words):
    assert SAY.vector({"who": "me", "words": words}) == [
        "/bin/echo", "-n", "--to=me", words, f"pre-{words}-post",
    ]  # fmt: skip


def test_an_element_without_its_value_is_left_out():
    assert SAY.vector({"words": "x"}) == ["/bin/echo", "-n", "x", "pre-x-post"]


@pytest.mark.parametrize("words", ["--option", "-n", "a\nb", "a\0b"])
def test_what_could_be_an_option_or_a_line_is_refused(words):
    with pytest.raises(BadRequest):
        SAY.vector({"words": words})


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"command": []}, "command[0]"),
        ({"command": ["echo"]}, "command[0]"),
        ({"command": "/bin/echo hello"}, "command"),
        ({"command": ["/bin/{p}"], "parameters": {"p": {"type": "text"}}}, "command[0]"),
        ({"command": ["/bin/echo", "{nobody}"]}, "command[1]"),
        ({"folder": "here"}, "folder"),
        ({"shell": True}, "shell"),
        ({"timeout_seconds": "soon"}, "timeout_seconds"),
        ({"parameters": {"p": {"type": "file"}}}, "parameters"),
        ({"parameters": {"p": {"type": "integer", "pattern": "x"}}}, "pattern"),
        ({"parameters": {"p": {"type": "text", "pattern": "("}}}, "parameters.p"),
    ],
    ids=str,
)
def test_a_table_that_cannot_be_used_stops_the_start_and_names_the_key(values, named):
    with pytest.raises(ConfigurationError) as caught:
        commands.read(table(**values))
    assert "'say'" in caught.value.message
    assert named in caught.value.message
