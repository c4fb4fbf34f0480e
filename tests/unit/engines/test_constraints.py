"""Whatever a model likes to write, what comes out matches the schema; what must come is told."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema
import numpy as np
import pytest

from dimora.core.errors import DimoraError, InternalError
from dimora.engines._constraints import Constraint, Vocabulary, _Words, to_lark

pytest.importorskip("llguidance")

# Every byte, some longer pieces (one ends within a character), and the end.
PIECES = [b'{"', b'"}', b'": ', b'", "', b"true", b"null", b"12", b"na", b"name", b"\xc3", b" a"]
TEXTS = [bytes([n]) for n in range(256)] + PIECES + [b"<end>"]
END = len(TEXTS) - 1


def encode(text: str) -> list[int]:
    """The longest piece each time."""
    data, ids = text.encode(), []
    while data:
        id_ = max(
            (i for i, piece in enumerate(TEXTS[:END]) if data.startswith(piece)),
            key=lambda i: len(TEXTS[i]),
        )
        ids.append(id_)
        data = data[len(TEXTS[id_]) :]
    return ids


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary(TEXTS, [END], [END], encode)


def allowed(constraint: Constraint) -> set[int]:
    scores = np.zeros(len(TEXTS) + 5, np.float32)
    constraint.apply(scores)
    return {int(id_) for id_ in np.flatnonzero(np.isfinite(scores))}


def walk(constraint: Constraint, seed: int) -> str:
    """Likes letters, quotes and ends, or every text would be endless."""
    chance, ids = random.Random(seed), list[int]()
    closing = [i for i in range(END) if TEXTS[i] in (b'"', b"]", b"}", b"0", b"7", b'"}')]
    while not constraint.ended and len(ids) < 3000:
        may = allowed(constraint)
        if END in may:
            break
        likes = [i for i in closing if i in may]
        id_ = chance.choice(likes if likes and chance.random() < 0.3 else sorted(may))
        constraint.accept(id_)
        ids.append(id_)
    return b"".join(TEXTS[i] for i in ids).decode()


OBJECT = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 9},
        "età": {"type": "integer", "minimum": 3, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["a", "b\n", 'q"']}, "maxItems": 3},
    },
    "required": ["name", "età", "tags"],
}
TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"n": {"type": "integer"}, "next": {"$ref": "#/$defs/either"}},
            "required": ["n", "next"],
        },
        "either": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]},
    },
}
SCHEMAS: list[dict[str, Any]] = [
    OBJECT,
    TREE,
    {"type": "object"},
    {"type": "number", "exclusiveMinimum": 0.5, "maximum": 7},
    {"type": "string", "format": "date"},
    {"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$"},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 4},
    {"anyOf": [{"type": "string", "maxLength": 3}, {"type": "integer", "minimum": 1000}]},
    {"type": "object", "additionalProperties": {"type": "integer"}},
    {"const": {"a": [1, "ß😀", None]}},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=json.dumps)
def test_any_way_through_ends_in_what_the_schema_says(vocabulary, schema: dict[str, Any]) -> None:
    for seed in range(25):
        text = walk(Constraint(vocabulary, schema), seed)
        jsonschema.validate(json.loads(text), schema)


@pytest.mark.parametrize("schema", SCHEMAS, ids=json.dumps)
def test_what_is_forced_is_all_that_is_allowed(vocabulary, schema: dict[str, Any]) -> None:
    constraint, chance = Constraint(vocabulary, schema), random.Random(1)
    for _ in range(60):
        if constraint.ended:
            break
        for id_ in constraint.forced():
            may = allowed(constraint)
            assert id_ in may
            # A shorter piece of the same text may be allowed too, another text may not.
            assert all(
                TEXTS[id_].startswith(TEXTS[i]) or TEXTS[i].startswith(TEXTS[id_]) for i in may
            )
            constraint.accept(id_)
        if not constraint.ended:
            constraint.accept(chance.choice(sorted(allowed(constraint) - {END} or {END})))


def test_keys_and_signs_are_forced(vocabulary) -> None:
    constraint = Constraint(vocabulary, OBJECT)
    forced = constraint.forced()
    text = b"".join(TEXTS[id_] for id_ in forced).decode()
    assert text and '{"name": "'.startswith(text)


def test_numbers_beyond_the_vocabulary_are_never_allowed(vocabulary) -> None:
    assert max(allowed(Constraint(vocabulary, {"type": "string"}))) < len(TEXTS)


def test_two_answers_to_one_schema_know_nothing_of_each_other(vocabulary) -> None:
    one, other = Constraint(vocabulary, {"type": "null"}), Constraint(vocabulary, {"type": "null"})
    for id_ in encode("null"):
        one.accept(id_)
    assert one.ended
    assert not other.ended


def test_a_schema_beyond_all_bounds_is_refused_soon(vocabulary) -> None:
    item: dict[str, Any] = {"type": "string", "minLength": 900_000, "maxLength": 1_000_000}
    deep: dict[str, Any] = {"type": "integer"}
    for _ in range(60):
        deep = {"type": "array", "items": deep, "minItems": 50, "maxItems": 5000}
    for schema in (item, deep):
        try:
            constraint = Constraint(vocabulary, schema)
            allowed(constraint)
        except DimoraError as why:
            assert why.message


def test_characters_keep_their_meaning_from_one_notation_to_the_other() -> None:
    lark = to_lark('root ::= "\\u0022\\U0001F600" [a-z\\u002D\\u0041] r1{2,3}\nr1 ::= root | "x"\n')
    assert lark.splitlines() == [
        "start: root",
        'root: "\\"😀" /[a-z\\x{002D}\\x{0041}]/ r1{2,3}',
        'r1: root | "x"',
    ]


def test_a_blank_that_a_tokenizer_adds_is_not_forced() -> None:
    vocabulary = Vocabulary(TEXTS, [END], [END], lambda text: encode(" " + text))
    forced = Constraint(vocabulary, OBJECT).forced()
    assert forced == encode('{"name": "')[: len(forced)] != []
    text = walk(Constraint(vocabulary, OBJECT), 1)
    jsonschema.validate(json.loads(text), OBJECT)


def test_a_text_is_spelled_as_far_as_there_are_tokens() -> None:
    words = _Words([b"a", b"ab", b"b", b"<end>"], [3], [3], lambda text: [])
    assert words("abba") == [1, 2, 0]
    assert words("aba!b") == [1, 0]
    assert words("<end>") == []


def test_a_schema_that_is_left_is_not_called_slow(vocabulary) -> None:
    constraint = Constraint(vocabulary, {"type": "null"})
    constraint.accept(TEXTS.index(b"x"))
    with pytest.raises(InternalError) as caught:
        allowed(constraint)
    assert "too long" not in caught.value.text
