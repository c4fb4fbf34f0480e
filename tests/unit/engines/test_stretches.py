"""Answers in stretches, with an engine that proposes what it is told to."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from dimora.engines._grammar import schema_grammar
from dimora.engines._stretches import Stretches
from dimora.engines._walk import Walk

END = 0
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 10},
        "married": {"type": "boolean"},
        "trade": {"enum": ["baker", "teacher", "farmer"]},
    },
    "required": ["name", "married", "trade"],
    "additionalProperties": False,
}
# A token is a word, or a byte of anything else.
WORDS = [
    "name",
    "married",
    "trade",
    "true",
    "false",
    "Ann",
    "baker",
    '":"',
    '","',
    '"}',
    "Annabella",
]


def encode(text: str) -> list[int]:
    pieces = re.findall("|".join(map(re.escape, WORDS)) + r"|(?s:.)", text)
    return [
        id_
        for piece in pieces
        for id_ in ([300 + WORDS.index(piece)] if piece in WORDS else list(piece.encode()))
    ]


def decode(ids) -> str:
    return b"".join(WORDS[i - 300].encode() if i >= 300 else bytes([i]) for i in ids).decode(
        "utf-8", "replace"
    )


def stretches(schema: dict, limit: int = 200) -> Stretches:
    walk = Walk(schema_grammar(schema, longest_run=10**9))
    return Stretches(walk, encode=encode, decode=decode, ends={END}, limit=limit)


class Model:
    """Writes one text after another, each when it is asked anew; counts what it was asked for."""

    def __init__(self, *proposals: str) -> None:
        self._proposals = iter(proposals)
        self.passes = 0

    def write(self, answer: Stretches, *, least: int = 1) -> tuple[str, str]:
        """The text that was told, and how it ended."""
        step = answer.begin()
        told = list(step.told)
        while not step.ended:
            for id_ in self._next():
                self.passes += 1
                step = answer.feed(id_, -0.5, least=least)
                told += step.told
                if step.again or step.ended:
                    break
        assert [id_ for id_, _ in told if id_ != END] == [i for i in answer.ids if i != END]
        return decode([id_ for id_, _ in told if id_ != END]), step.ended

    def _next(self) -> Iterator[int]:
        text = next(self._proposals)
        yield from encode(text)
        yield END


def test_only_what_is_a_choice_is_asked_for():
    model = Model('Ann","', "f", "b")
    text, ended = model.write(stretches(PERSON))
    assert (json.loads(text), ended) == (
        {"name": "Ann", "married": False, "trade": "baker"},
        "stop",
    )
    assert model.passes == len(encode('Ann","')) + 2


def test_where_skipping_is_not_worth_it_the_engine_writes_on():
    model = Model('Ann","married":true,"trade":"baker"}')
    text, ended = model.write(stretches(PERSON), least=1000)
    assert json.loads(text) == {"name": "Ann", "married": True, "trade": "baker"}
    assert ended == "stop"


def test_a_token_that_leaves_the_grammar_is_cut_there():
    """The engine may propose longer strings than are allowed."""
    model = Model("The AnnabellaAnn", "true", "teacher")
    text, ended = model.write(stretches(PERSON))
    assert json.loads(text) == {"name": "The Annabe", "married": True, "trade": "teacher"}
    assert ended == "stop"


def test_a_character_of_several_tokens_is_kept_whole():
    model = Model("Zoë 李李李李李李李李", "true", "farmer")
    text, _ = model.write(stretches(PERSON))
    assert json.loads(text)["name"] == "Zoë 李李李李李李"


def test_an_answer_without_a_choice_needs_no_engine():
    model = Model()
    assert model.write(stretches({"const": {"a": "b"}})) == ('{"a":"b"}', "stop")
    assert model.passes == 0


def test_a_number_ends_when_the_engine_ends_it():
    model = Model("12")
    assert model.write(stretches({"type": "integer"})) == ("12", "stop")


def test_tokens_do_not_end_within_a_word_that_must_come():
    model = Model("n", "eacher")
    answer = stretches({"enum": ["teacher", "teaching"]})
    assert decode([id_ for id_, _ in answer.begin().told]) == '"'
    assert model.passes == 0


@pytest.mark.parametrize("limit", range(1, 20))
def test_no_answer_is_longer_than_its_limit(limit):
    answer = stretches(PERSON, limit)
    model = Model('Ann","', "f", "b")
    text, ended = "", ""
    step = answer.begin()
    told = list(step.told)
    while not step.ended:
        for id_ in model._next():
            step = answer.feed(id_, 0.0, least=1)
            told += step.told
            if not step.ended and not step.again and not answer.room:
                step = answer.end("length")
                told += step.told
            if step.ended or step.again:
                break
    ended = step.ended
    text = decode([id_ for id_, _ in told])
    assert len(told) <= limit
    whole = '{"name":"Ann","married":false,"trade":"baker"}'
    assert whole.startswith(text)
    assert ended == ("stop" if text == whole else "length")


def test_what_cannot_be_written_as_tokens_is_left_to_the_engine():
    walk = Walk(schema_grammar({"type": "string", "maxLength": 20}, longest_run=10**9))
    answer = Stretches(
        walk, encode=lambda text: encode(" " + text), decode=decode, ends={END}, limit=99
    )
    assert not answer.begin().told
    assert '"' in answer.grammar
    step = answer.feed(ord('"'), 0.0, least=1)
    for _ in range(20):
        step = answer.feed(ord("x"), 0.0, least=1)
    assert not step.again
    step = answer.feed(ord("x"), 0.0, least=1)
    assert (step.again, step.told) == (True, ())
    assert answer.grammar.startswith('root ::= "" "\\u0022"')


def test_text_that_would_end_the_answer_is_not_skipped():
    answer = Stretches(
        Walk(schema_grammar({"const": "a"})),
        encode=encode,
        decode=decode,
        ends={END, ord("a")},
        limit=9,
    )
    assert not answer.begin().told


def test_an_end_in_the_wrong_place_is_told_as_it_is():
    answer = stretches(PERSON)
    answer.begin()
    step = answer.feed(END, 0.0, least=1)
    assert step.ended == "stop"
    assert step.told == [(END, 0.0)]
