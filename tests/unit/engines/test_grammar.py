"""Grammars of JSON Schemas: what is in the text, and what is refused."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from dimora.core.errors import UnsupportedFeature
from dimora.engines._digits import numbers_between
from dimora.engines._grammar import schema_grammar
from dimora.engines._patterns import UnknownPattern, pattern_grammar


def rules_of(schema: dict) -> dict[str, str]:
    lines = schema_grammar(schema).splitlines()
    return dict(line.split(" ::= ", 1) for line in lines)


def test_the_first_rule_is_the_root():
    assert schema_grammar({"type": "boolean"}).startswith("root ::= ")


def test_every_rule_that_is_named_is_there():
    schema = {
        "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
        "$ref": "#/$defs/node",
    }
    rules = rules_of(schema)
    named = {word for rule in rules.values() for word in rule.replace("(", " ").split()}
    assert {n for n in named if n[:1] == "r" and n[1:].isdigit()} <= set(rules)


def test_there_is_no_choice_of_white_space():
    """A model may lose its way in it, and what has no other choice need not be asked of it."""
    rules = rules_of({"type": "object", "properties": {"a": {"type": "array"}}, "required": ["a"]})
    written = " ".join(rules.values())
    assert '", "' in written
    assert '": "' in written
    assert "\\n" not in written and "\\t" not in written


def test_no_escape_of_two_hex_digits_is_written():
    """One of the readers takes the letters after it for more digits."""
    schema = {"type": "object", "properties": {"age": {"type": "string", "pattern": '^"a$'}}}
    assert "\\x" not in schema_grammar(schema)


def test_long_runs_are_made_of_shorter_ones():
    rules = rules_of({"type": "string", "maxLength": 9999})
    assert "{0,9999}" not in " ".join(rules.values())


def test_a_reference_that_leads_nowhere_is_refused():
    with pytest.raises(UnsupportedFeature):
        schema_grammar({"$ref": "#/$defs/missing"})


def test_an_array_that_cannot_be_is_refused():
    with pytest.raises(UnsupportedFeature):
        schema_grammar({"type": "array", "items": {}, "minItems": 3, "maxItems": 2})


def test_limits_without_a_number_between_them_are_refused():
    with pytest.raises(UnsupportedFeature):
        schema_grammar({"type": "integer", "minimum": 3, "maximum": 2})


def matches(grammar: str, text: str) -> bool:
    """Grammars of digits are regular expressions in other clothes."""
    bare = re.sub(r'"([^"]*)"', lambda found: re.escape(found[1]), grammar)
    return re.fullmatch(bare.replace(" ", ""), text) is not None


@pytest.mark.parametrize(("low", "high"), [(10, 12), (-12, 250), (0, 0), (-105, -7), (99, 1001)])
def test_exactly_the_whole_numbers_between_the_limits_match(low, high):
    grammar = numbers_between(Decimal(low), Decimal(high), whole=True)
    for number in range(low - 120, high + 120):
        assert matches(grammar, str(number)) == (low <= number <= high), number


@pytest.mark.parametrize(("low", "high"), [("0", "1"), ("0.5", "0.7"), ("-3.25", "7.5")])
def test_no_decimal_beyond_the_limits_matches(low, high):
    grammar = numbers_between(Decimal(low), Decimal(high), whole=False)
    for hundredths in range(-500, 900):
        number = Decimal(hundredths) / 100
        assert matches(grammar, f"{number:.2f}") == (Decimal(low) <= number <= Decimal(high)) or (
            number == 0 and f"{number:.2f}".startswith("-")
        )


@pytest.mark.parametrize("pattern", ["a", "^a|b$", "^(?=x)a$", "^a++$", "^a{1,5000}$", "^[a$"])
def test_a_pattern_no_grammar_can_follow_is_refused(pattern):
    with pytest.raises(UnknownPattern):
        pattern_grammar(pattern)


def test_a_quote_in_a_pattern_is_escaped_as_json_wants_it():
    assert pattern_grammar('^"$') == '("\\u005C\\u0022")'
