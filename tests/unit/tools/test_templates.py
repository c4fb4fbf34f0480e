"""Places for parameters, filled once and never read again."""

from __future__ import annotations

import pytest

from dimora.tools._templates import read_template


def test_values_fill_their_places_and_double_braces_are_braces():
    template = read_template("{{{a}}} and {b}", {"a", "b"})
    assert template.names == ("a", "b")
    assert template.fill({"a": "1", "b": "{a}"}) == "{1} and {a}"


def test_a_value_is_never_a_template_itself():
    assert read_template("x={a}", {"a", "b"}).fill({"a": "{b}", "b": "no"}) == "x={b}"


def test_what_was_left_out_takes_the_whole_text_with_it():
    assert read_template("--name={a}", {"a"}).fill({}) is None
    assert read_template("plain", set()).fill({}) == "plain"


@pytest.mark.parametrize("text", ["{", "}", "{x}", "{A}", "{}", "a{b", "{a"])
def test_a_brace_alone_and_an_unknown_name_are_errors(text):
    with pytest.raises(ValueError):
        read_template(text, {"a"})
