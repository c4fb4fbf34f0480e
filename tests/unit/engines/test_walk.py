"""Following a text through a grammar: what may come, what must come, what is left."""

from __future__ import annotations

import json

import pytest

from dimora.engines._grammar import schema_grammar
from dimora.engines._walk import Walk

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 40},
        "year": {"type": "integer", "minimum": 1900, "maximum": 2100},
        "married": {"type": "boolean"},
        "trade": {"enum": ["baker", "teacher", "farmer"]},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3},
        "note": {"type": ["string", "null"]},
    },
    "required": ["name", "year", "married", "trade", "tags"],
    "additionalProperties": False,
}
HER = {
    "name": 'Zoë "Z" \\ 李\n',
    "year": 1961,
    "married": False,
    "trade": "baker",
    "tags": ["a", ""],
    "note": None,
}


def walk_of(schema: dict) -> Walk:
    return Walk(schema_grammar(schema, longest_run=10**9))


def written(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def fits(walk: Walk, text: str) -> bool:
    count, state = walk.follow(walk.start, text)
    return count == len(text) and state.can_end


def test_a_text_of_the_grammar_is_followed_to_its_end():
    walk = walk_of(PERSON)
    assert fits(walk, written(HER))
    assert fits(walk, written({n: v for n, v in HER.items() if n != "note"}))


@pytest.mark.parametrize(
    ("changed", "at"),
    [
        ({"year": 1899}, "18"),
        ({"year": 21001}, "21001"),
        ({"trade": "banker"}, "ban"),
        ({"tags": []}, "[]"),
        ({"tags": ["a", "b", "c", "d"]}, '"c",'),
        ({"name": "x" * 41}, "x" * 41),
        ({"note": 1}, '"note":1'),
    ],
)
def test_a_text_that_leaves_the_grammar_is_followed_to_where_it_does(changed, at):
    text = written(HER | changed)
    walk = walk_of(PERSON)
    count, _ = walk.follow(walk.start, text)
    assert count == text.index(at) + len(at) - 1
    assert not fits(walk, text)


def test_an_escape_may_not_make_half_a_character():
    walk = walk_of({"type": "string"})
    assert fits(walk, '"\\u00e9 \\n \\\\ \\" 🦙"')
    assert not fits(walk, '"\\ud83e"')
    assert not fits(walk, '"\\x"')
    assert not fits(walk, '"a\nb"')


def test_what_must_come_is_known_up_to_the_next_choice():
    walk = walk_of(PERSON)
    text, state = walk.forced(walk.start)
    assert text == '{"name":"'
    assert not state.is_complete
    after = walk.follow(state, 'Ann"')[1]
    assert walk.forced(after)[0] == ',"year":'
    after = walk.follow(after, ',"year":1961')[1]
    assert walk.forced(after)[0] == ',"married":'
    after = walk.follow(after, ',"married":f')[1]
    assert walk.forced(after)[0] == 'alse,"trade":"'


def test_a_full_string_must_be_closed():
    walk = walk_of({"type": "string", "maxLength": 3})
    assert walk.forced(walk.follow(walk.start, '"ab')[1])[0] == ""
    assert walk.forced(walk.follow(walk.start, '"abc')[1])[0] == '"'
    assert walk.forced(walk.follow(walk.start, '"ab\\n')[1])[0] == '"'


def test_where_nothing_may_follow_the_text_is_complete():
    walk = walk_of({"const": {"a": [1]}})
    text, state = walk.forced(walk.start)
    assert text == '{"a":[1]}'
    assert state.is_complete
    walk = walk_of({"type": "integer"})
    assert not walk.follow(walk.start, "1")[1].is_complete


def test_what_must_go_on_for_ever_is_told_in_pieces():
    node = {"type": "object", "properties": {"n": {"$ref": "#/$defs/node"}}, "required": ["n"]}
    walk = walk_of({"$defs": {"node": node}, "$ref": "#/$defs/node"})
    text, state = walk.forced(walk.start)
    assert text.startswith('{"n":{"n":')
    assert len(text) < 10_000
    assert walk.forced(state)[0]


def test_the_rest_of_a_grammar_is_a_grammar_of_the_rest():
    walk = walk_of(PERSON)
    text = written(HER)
    for at in range(len(text)):
        rest = Walk(walk.rest(walk.follow(walk.start, text[:at])[1], exact=True))
        assert fits(rest, text[at:]), text[at:]
        assert not fits(rest, text[at:] + "}")


def test_a_rest_that_need_not_be_exact_allows_more_and_forgets_no_short_bound():
    schema = {"type": "string", "maxLength": 40}
    walk = walk_of(schema)
    loose = Walk(walk.rest(walk.start, exact=False))
    assert fits(loose, '"' + "x" * 5000 + '"')
    assert not fits(Walk(walk.rest(walk.start, exact=True)), '"' + "x" * 41 + '"')
    short = walk_of({"type": "string", "minLength": 2, "maxLength": 4})
    assert not fits(Walk(short.rest(short.start, exact=False)), '"xxxxx"')
    assert not fits(Walk(short.rest(short.start, exact=False)), '"x"')


def test_long_texts_do_not_fill_the_memory():
    walk = walk_of({"type": "array", "items": {"type": "string", "maxLength": 9000}})
    text = "[" + ",".join(['"' + "y" * 9000 + '"'] * 3) + "]"
    assert fits(walk, text)
    assert len(walk._places) < 60_000
