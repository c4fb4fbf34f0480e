"""Reading JSON bodies, durations and options as callers write them."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimora.core.durations import format_duration
from dimora.core.errors import BadRequest
from dimora.dialects._body import (
    Body,
    BodyReader,
    keep_alive_from,
    quote,
    read_json_schema,
    read_options,
)
from dimora.dialects._tools import ToolChoice, read_tool_choice


class Inner(Body, frozen=True, kw_only=True):
    name: str = ""


class Outer(Body, frozen=True, kw_only=True):
    inner: Inner = Inner()
    many: str | list[Inner] = ""
    free: dict[str, object] = {}


READER = BodyReader(Outer)


def test_unknown_fields_are_named_with_their_place():
    body = {"x": 1, "inner": {"y": 1}, "many": [{"name": "a"}, {"z": 1}], "free": {"any": None}}
    value, warnings = READER.read(json.dumps(body).encode())
    assert warnings == (
        "field 'x' is not known and was ignored",
        "field 'inner.y' is not known and was ignored",
        "field 'many[1].z' is not known and was ignored",
    )
    assert value.free == {"any": None}


def test_null_is_the_same_as_absent_at_every_depth():
    value, warnings = READER.read(b'{"inner":{"name":null},"many":null}')
    assert value == Outer()
    assert warnings == ()


def test_a_flood_of_unknown_fields_is_counted_not_told():
    body = {f"field{n}": 1 for n in range(100)}
    _, warnings = READER.read(json.dumps(body).encode())
    assert len(warnings) == 21
    assert warnings[-1] == "80 more unknown fields were ignored"


def test_a_type_error_names_the_field_and_never_its_value():
    with pytest.raises(BadRequest) as caught:
        READER.read(b'{"inner":{"name":["canary"]}}')
    assert caught.value.param == "inner.name"
    assert "canary" not in caught.value.message


def test_words_of_callers_are_made_printable_and_short():
    assert quote("a\r\nb") == "'a��b'"
    assert len(quote("x" * 10_000)) < 210


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        (0, 0.0),
        (300, 300.0),
        (1.5, 1.5),
        (-1, math.inf),
        (-0.5, math.inf),
        (10**400, math.inf),
        (9.2e9, 9.2e9),
        (9.3e9, math.inf),
        (2**63, math.inf),
        (1e300, math.inf),
        ("0", 0.0),
        ("0s", 0.0),
        ("10m", 600.0),
        ("24h", 86400.0),
        ("1h30m", 5400.0),
        ("-1m", math.inf),
        ("9200000000s", 9.2e9),
        ("2562048h", math.inf),
        ("9" * 400 + "h", math.inf),
    ],
)
def test_keep_alive_means_what_the_contract_says(value, seconds):
    assert keep_alive_from(value) == seconds


@pytest.mark.parametrize("value", ["300", "-1", "", "5 m", "m", "1d", "forever", "١٢"])
def test_a_bare_number_in_a_string_and_what_is_no_duration_are_refused(value):
    with pytest.raises(BadRequest) as caught:
        keep_alive_from(value)
    assert caught.value.param == "keep_alive"


@pytest.mark.parametrize("value", [True, False, [], {}, [5]])
def test_other_types_of_keep_alive_are_refused(value):
    with pytest.raises(BadRequest, match="Unsupported type"):
        keep_alive_from(value)


@given(st.floats(min_value=0, max_value=1e9))
def test_keep_alive_reads_back_what_durations_are_written_as(seconds):
    assert keep_alive_from(format_duration(seconds)) == pytest.approx(seconds, abs=1e-6)


@given(st.text() | st.integers() | st.floats() | st.booleans() | st.lists(st.integers()))
def test_any_keep_alive_is_seconds_or_a_bad_request(value):
    try:
        seconds = keep_alive_from(value)
    except BadRequest:
        return
    assert seconds is not None
    assert not seconds < 0


def test_options_that_no_machine_can_hold_are_refused():
    for value in (2**63, -(2**70), 1e300):
        with pytest.raises(BadRequest, match="seed"):
            read_options({"seed": value})
    assert read_options({"seed": 2**63 - 1})[0].seed == 2**63 - 1


def test_unknown_and_retired_options_are_warned_about():
    options, warnings = read_options({"colour": 1, "mirostat": 2, "top_k": None, "top_p": 1})
    assert [("colour" in w, "mirostat" in w) for w in warnings] == [(True, False), (False, True)]
    assert options.as_dict() == {"top_p": 1.0}


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (None, None),
        ("", None),
        ("json", {"type": "object"}),
        ({"type": "array"}, {"type": "array"}),
        ({}, {}),
    ],
)
def test_format_is_json_or_a_schema(value, schema):
    assert read_json_schema(value) == schema


@pytest.mark.parametrize("value", ["xml", 5, True, ["json"]])
def test_any_other_format_is_refused(value):
    with pytest.raises(BadRequest, match="invalid format"):
        read_json_schema(value)


@pytest.mark.parametrize(
    ("value", "choice"),
    [
        (None, ToolChoice("auto")),
        ("none", ToolChoice("none")),
        ("required", ToolChoice("required")),
        ({"type": "function", "function": {"name": "f"}}, ToolChoice("named", "f")),
    ],
)
def test_tool_choice_is_a_word_or_a_name(value, choice):
    assert read_tool_choice(value) == choice


@pytest.mark.parametrize(
    "value", ["any", 1, [], {}, {"type": "function"}, {"type": "function", "function": {"name": 1}}]
)
def test_any_other_tool_choice_is_refused(value):
    with pytest.raises(BadRequest, match="tool_choice"):
        read_tool_choice(value)
