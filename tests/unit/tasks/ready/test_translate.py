"""What code promises of a translation, whatever the model says."""

from __future__ import annotations

import asyncio

import pytest

from dimora.core.errors import BadRequest
from dimora.tasks.ready import translate
from dimora.tasks.ready._faithful import numbers_of
from dimora.tasks.ready._placeholders import placeholders_of
from dimora.tasks.ready.translate import read_glossary
from tests.unit.tasks.ready.speaking import result_of


def test_a_glossary_is_pairs():
    assert read_glossary(("house = dimora", "a=b=c")) == {"house": "dimora", "a": "b=c"}


@pytest.mark.parametrize("entry", ["house", "=x", "x=", " = "])
def test_what_is_no_pair_is_refused(entry):
    with pytest.raises(BadRequest):
        read_glossary((entry,))


def test_numbers_are_the_same_in_either_spelling_and_counted():
    assert numbers_of("1,200.50 and 3") == numbers_of("3 e 1.200,50")
    assert numbers_of("3 and 3") != numbers_of("3")


def _translated(text: str, say, **fields) -> dict:
    request = translate.Translate(text=text, target="it", **fields)
    return asyncio.run(result_of(translate, request, say))


def _words(prompt) -> str:
    return prompt.text.split("<text>\n")[-1].split("\n</text>")[0]


def test_a_placeholder_comes_through_whatever_the_model_does():
    for say in (lambda _: "niente", lambda p: _words(p) + " <1> <9>", lambda _: "{altro} %s"):
        told = _translated("Hi {name}, you have %d of <b>many</b>.", say)
        assert placeholders_of(told["translation"]) == ["%d", "</b>", "<b>", "{name}"]


def test_what_should_be_looked_at_is_noted_with_its_line():
    text = "Good morning to all of you\n\nPay 12 euros\nHello"
    told = _translated(
        text, lambda p: _words(p).replace("12", "21") + (" la" * 20) * ("Hello" in p.text)
    )
    assert list(told["notes"]) == [
        "line 1: it stayed as it was",
        "line 3: the numbers differ",
        "line 4: it is much longer than before",
    ]


def test_subtitles_keep_numbers_and_times_and_long_ones_are_noted():
    text = (
        "1\n00:00:01,000 --> 00:00:02,000\nWait\nfor me!\n\n2\n00:00:03,000 --> 00:00:04,000\nNo.\n"
    )
    told = _translated(text, lambda p: "Aspetta, per piacere, " * 6 if "Wait" in p.text else "No!")
    lines = told["translation"].splitlines()
    assert lines[:2] == text.splitlines()[:2]
    assert lines[-3:] == ["2", "00:00:03,000 --> 00:00:04,000", "No!"]
    assert all(len(line) <= 42 for line in lines)
    assert any("more than two lines" in note for note in told["notes"])


def test_a_long_line_is_translated_a_few_sentences_at_a_time():
    sentence = "The ship stood at anchor before Genoa for many days. "
    asked = []
    told = _translated(sentence * 60, lambda p: asked.append(_words(p)) or _words(p).upper())
    assert len(asked) > 2
    assert told["translation"] == (sentence * 60).upper()


def test_json_keeps_what_is_to_be_skipped():
    told = _translated('{"id": "the id", "t": "the title"}', lambda p: "il titolo", skip=("id",))
    assert told["translation"] == '{"id": "the id", "t": "il titolo"}'
