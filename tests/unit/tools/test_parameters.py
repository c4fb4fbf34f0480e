"""No value of a model becomes an option, a line, or a place outside its folder."""

from __future__ import annotations

import os

import msgspec
import pytest

from dimora.core.errors import BadRequest
from dimora.tools._parameters import Parameter, problem_of, schema_of, settle


def parameter(**table) -> Parameter:
    return msgspec.convert(table, Parameter)


TEXT = {"p": parameter(type="text")}
HOSTILE = ["--option", "-rf", "a\nb", "a\0b", "a\rb", "a\x1b[2J", "a\u202eb", "x" * 201]


@pytest.mark.parametrize("value", HOSTILE, ids=repr)
def test_a_text_is_one_line_and_no_option(value):
    with pytest.raises(BadRequest) as caught:
        settle(TEXT, {"p": value})
    assert caught.value.param == "p"
    assert value not in caught.value.text


def test_what_is_dangerous_to_a_shell_is_a_text_like_others():
    for value in ("; rm -rf /", "$(reboot)", "`x`", "a && b", "* ? ~", "'\"", ""):
        assert settle(TEXT, {"p": value}) == {"p": value}


def test_a_minus_and_lines_are_let_through_where_the_settings_say_so():
    loose = {"p": parameter(type="text", dash=True, multiline=True)}
    assert settle(loose, {"p": "-5\n\tx"}) == {"p": "-5\n\tx"}
    with pytest.raises(BadRequest):
        settle(loose, {"p": "a\0b"})


def test_a_pattern_has_to_match_the_whole_text():
    name = {"p": parameter(type="text", pattern="[a-z]+")}
    assert settle(name, {"p": "kitchen"}) == {"p": "kitchen"}
    for value in ("kitchen; rm", "kitchen\n", "", "Kitchen"):
        with pytest.raises(BadRequest):
            settle(name, {"p": value})


@pytest.mark.parametrize("value", [-1, 101, 5.5, True, "5", None])
def test_a_whole_number_keeps_its_bounds_and_its_type(value):
    with pytest.raises(BadRequest):
        settle({"p": parameter(type="integer", minimum=0, maximum=100)}, {"p": value})


def test_a_choice_is_one_of_those():
    choice = {"p": parameter(type="choice", choices=["on", "off"])}
    assert settle(choice, {"p": "on"}) == {"p": "on"}
    for value in ("ON", ["on"], {"on": 1}, "on "):
        with pytest.raises(BadRequest):
            settle(choice, {"p": value})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "inside" / "deep").mkdir(parents=True)
    (tmp_path / "inside" / "a.txt").write_text("a")
    (tmp_path / "inside-too").mkdir()
    (tmp_path / "secret.txt").write_text("s")
    (tmp_path / "inside" / "link").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "inside" / "way").symlink_to(tmp_path)
    (tmp_path / "inside" / "loop").symlink_to(tmp_path / "inside" / "loop")
    return tmp_path / "inside"


def test_a_path_is_what_is_there_below_its_folder(folder):
    path = {"p": parameter(type="path", below=str(folder))}
    assert settle(path, {"p": "a.txt"}) == {"p": str(folder / "a.txt")}
    assert settle(path, {"p": str(folder / "deep")}) == {"p": str(folder / "deep")}
    assert settle(path, {"p": "."}) == {"p": str(folder)}


def test_no_path_leads_out_and_what_is_outside_is_told_like_what_is_not(folder):
    path = {"p": parameter(type="path", below=str(folder))}
    outside = ["../secret.txt", "/etc/passwd", "link", "way/secret.txt", "deep/../../secret.txt"]
    outside += ["../inside-too", "loop", "a.txt\0", "", "-x", "x" * 5000, "no-such-file", "~"]
    told = set()
    for value in outside:
        with pytest.raises(BadRequest) as caught:
            settle(path, {"p": value})
        told.add(caught.value.message)
    assert len(told) == 1


def test_an_argument_nobody_knows_is_refused_and_an_optional_one_may_be_missing():
    both = {"p": parameter(type="text"), "q": parameter(type="integer", optional=True)}
    assert settle(both, {"p": "x"}) == {"p": "x"}
    assert settle(both, {"p": "x", "q": None}) == {"p": "x"}
    for arguments in ({}, {"p": "x", "canary-4711": 1}):
        with pytest.raises(BadRequest) as caught:
            settle(both, arguments)
        assert "canary" not in caught.value.text


def test_the_schema_says_what_is_checked():
    told = schema_of(
        {
            "n": parameter(type="integer", maximum=9),
            "c": parameter(type="choice", choices=["a"], optional=True, description="Which."),
        }
    )
    assert told["properties"]["n"] == {"type": "integer", "minimum": 0, "maximum": 9}
    assert told["properties"]["c"] == {"enum": ["a"], "description": "Which."}
    assert told["required"] == ["n"]
    assert told["additionalProperties"] is False


@pytest.mark.parametrize(
    "table",
    [
        {"type": "text", "pattern": "("},
        {"type": "text", "max_length": 0},
        {"type": "integer", "minimum": 5, "maximum": 1},
        {"type": "choice", "choices": []},
        {"type": "path", "below": f"relative{os.sep}path"},
    ],
    ids=str,
)
def test_a_table_that_cannot_be_used_is_told_by_its_key(table):
    assert problem_of({"p": parameter(**table)}).startswith("parameters.p: ")
    assert "parameters.P" in problem_of({"P": parameter(type="text")})
