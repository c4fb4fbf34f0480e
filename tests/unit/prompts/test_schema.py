"""Only schemas that a grammar can enforce are accepted, and answers are checked once more."""

from __future__ import annotations

import time

import pytest

from dimora.core.errors import BadRequest
from dimora.prompts.schema import check_schema, violation

PERSON = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Person",
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 40, "description": "full"},
        "age": {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]},
        "kind": {"enum": ["a", "b"]},
        "one": {"const": 1},
        "friends": {"type": "array", "items": {"$ref": "#/$defs/Friend"}, "maxItems": 3},
        "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}]},
        "home": {"allOf": [{"$ref": "#/definitions/Place"}], "description": "where"},
        "born": {"type": "string", "format": "date"},
        "code": {"type": "string", "pattern": "^[A-Z]{2}(?:-[0-9]+)?$"},
        "more": {"type": "object", "additionalProperties": {"type": "string"}},
        "parent": {"$ref": "#"},
    },
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"Friend": {"type": "object", "properties": {"of": {"$ref": "#/$defs/Friend"}}}},
    "definitions": {"Place": {"type": ["string", "null"]}},
}


def test_an_ordinary_schema_is_accepted_as_it_is():
    assert check_schema(PERSON) is PERSON


def test_any_object_is_a_schema():
    assert check_schema({"type": "object"}) == {"type": "object"}
    assert check_schema({}) == {}


@pytest.mark.parametrize(
    "keyword",
    [
        "not",
        "if",
        "then",
        "else",
        "patternProperties",
        "uniqueItems",
        "dependentRequired",
        "dependentSchemas",
        "multipleOf",
        "contains",
        "propertyNames",
        "unevaluatedProperties",
        "unevaluatedItems",
        "minProperties",
        "maxProperties",
        "$anchor",
        "madeUp",
    ],
)
def test_a_keyword_that_cannot_be_enforced_is_refused_with_its_place(keyword):
    schema = {"type": "object", "properties": {"a": {"type": "array", "items": {keyword: {}}}}}
    with pytest.raises(BadRequest) as caught:
        check_schema(schema)
    assert caught.value.code == "unsupported_schema"
    assert repr(keyword) in caught.value.message
    assert "#/properties/a/items" in caught.value.message


def nested(depth: int) -> dict:
    schema: dict = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        True,
        "object",
        [{}],
        {"type": "text"},
        {"type": []},
        {"type": {"a": 1}},
        {"properties": {"a": True}},
        {"properties": []},
        {"items": [{"type": "string"}]},
        {"items": False},
        {"enum": []},
        {"prefixItems": []},
        {"anyOf": []},
        {"anyOf": {"a": {}}},
        {"anyOf": [{"type": "string"}], "minLength": 3},
        {"anyOf": [{}], "oneOf": [{}]},
        {"allOf": [{"type": "string"}, {"minLength": 1}]},
        {"$ref": "#/$defs/Missing"},
        {"$ref": "#/properties/a", "properties": {"a": {}}},
        {"properties": {"a": {"$ref": "#/properties/a"}}},
        {"$ref": "other.json#/a"},
        {"$ref": 1},
        {"$ref": "#"},
        {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}},
        {"$ref": "#/$defs/A", "minLength": 1, "$defs": {"A": {"type": "string"}}},
        {"$defs": []},
        {"required": "a"},
        {"required": ["a"]},
        {"minItems": -1},
        {"maxLength": 10**9},
        {"maxLength": True},
        {"minLength": 5, "maxLength": 4},
        {"minimum": "1"},
        {"format": "email"},
        {"format": ["date"]},
        {"pattern": "abc"},
        {"pattern": "^a(?=b)$"},
        {"pattern": r"^(a)\1$"},
        {"pattern": "^($"},
        {"pattern": "^" + "a" * 600 + "$"},
        nested(40),
        nested(3000),
        {"properties": {str(n): {"type": "string"} for n in range(5000)}},
        {"description": "x" * 300_000},
    ],
)
def test_what_is_wrong_or_too_much_is_refused(schema):
    with pytest.raises(BadRequest) as caught:
        check_schema(schema)
    assert caught.value.code == "unsupported_schema"


def test_an_answer_that_matches_has_no_violation():
    assert violation('{"name": "Ada", "friends": [{"of": {}}], "pair": ["a", 1]}', PERSON) == ""
    assert violation("[1]", {}) == ""


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{"name": ""}', "#/properties/name/minLength"),
        ("{}", "#/required"),
        ('{"name": "Ada", "secret": 1}', "#/additionalProperties"),
        ('{"name": "Ada", "code": "a"}', "#/properties/code/pattern"),
        ('{"name": "Ada", "kind": "secret"}', "#/properties/kind/enum"),
        ('{"name": "Ada"', "not valid JSON"),
        ("", "not valid JSON"),
        ('{"name": "Ada"} secret', "not valid JSON"),
        ("[" * 5000, "not valid JSON"),
    ],
)
def test_a_violation_says_which_rule_but_none_of_the_answers_words(text, where):
    why = violation(text, PERSON)
    assert where in why
    assert "secret" not in why
    assert "Ada" not in why


def test_a_pattern_that_could_run_for_ever_is_not_run():
    schema = {"type": "string", "pattern": "^(a+)+$"}
    check_schema(schema)
    started = time.monotonic()
    assert violation('"' + "a" * 64 + 'b"', schema) == ""
    assert time.monotonic() - started < 2


def test_a_property_named_pattern_is_no_pattern():
    schema = {"type": "object", "properties": {"pattern": {"type": "integer"}}}
    assert violation('{"pattern": "x"}', schema) == "it breaks #/properties/pattern/type"


@pytest.mark.parametrize("id_", ["https://example.com/a", "not a: uri", "", 5, None, {}])
def test_names_of_schemas_change_nothing(id_):
    inner = {"$id": id_, "$schema": id_, "$ref": "#/$defs/N"}
    schema = {
        "$schema": id_,
        "type": "object",
        "properties": {"a": inner, "$id": {"type": "integer"}},
        "$defs": {"N": {"type": "integer"}},
    }
    check_schema(schema)
    assert violation('{"a": 1, "$id": 2}', schema) == ""
    assert "type" in violation('{"a": "x"}', schema)
    assert violation('{"$id": "x"}', schema) == "it breaks #/properties/$id/type"
