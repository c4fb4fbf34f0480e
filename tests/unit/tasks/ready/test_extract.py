"""What becomes of the words a model copied."""

from __future__ import annotations

import asyncio
import math

import pytest

from dimora.core.errors import BadRequest
from dimora.tasks.base import Token
from dimora.tasks.ready import extract
from dimora.tasks.ready._desk import Answer
from dimora.tasks.ready.extract import read_fields, schema_of, table_columns, table_row, told
from tests.unit.tasks.ready.speaking import result_of

TEXT = "Total: EUR 1,240.50 by 3 May 2026"


def field(words: str):
    (one,) = read_fields([words])
    return one


def answer(name: str, value: str | None, logprob: float = -0.5) -> Answer:
    shown = "null" if value is None else f'"{value}"'
    tokens = (Token(1, f'{{"{name}": ', -7.0), Token(2, shown, logprob), Token(3, "}", -7.0))
    return Answer("".join(t.text for t in tokens), {name: value}, tokens)


def test_a_field_has_a_name_a_kind_and_a_meaning():
    assert field("total:number:with tax: all of it") == ("total", "number", "with tax: all of it")
    assert field("who") == ("who", "text", "")


@pytest.mark.parametrize(
    "fields", [(), ("a", "a"), ("",), (":number",), ("a:colour",), ("a",) * 41]
)
def test_fields_that_cannot_be_asked_for_are_refused(fields):
    with pytest.raises(BadRequest):
        read_fields(fields)


def test_a_value_has_its_place_counted_from_the_beginning_of_the_whole_text():
    value = told(field("total:number"), answer("total", "eur 1,240.50"), TEXT, 100, loose=False)
    assert (value.value, value.words, value.start, value.end) == (1240.5, "EUR 1,240.50", 107, 119)
    assert value.confidence == pytest.approx(math.exp(-0.5), abs=1e-4)
    assert value.problem == ""


def test_what_does_not_stand_in_the_text_is_no_value():
    value = told(field("total:number"), answer("total", "99"), TEXT, 0, loose=False)
    assert (value.value, value.start, value.problem) == (None, -1, "not in the text")


def test_loose_keeps_it_and_says_so():
    value = told(field("total:number"), answer("total", "99"), TEXT, 0, loose=True)
    assert (value.value, value.start, value.problem) == (99, -1, "not in the text")


def test_words_of_the_wrong_kind_are_told_and_are_no_value():
    value = told(field("when:date"), answer("when", "Total"), TEXT, 0, loose=False)
    assert (value.value, value.words, value.problem) == (None, "Total", "no date")


def test_nothing_found_is_no_problem():
    value = told(field("when:date"), answer("when", None), TEXT, 0, loose=False)
    assert (value.value, value.problem, value.words) == (None, "", "")
    assert value.confidence > 0.6


def test_the_schema_wants_every_field_and_no_other():
    schema = schema_of(read_fields(["a", "b:number"]))
    assert schema["required"] == ["a", "b"]
    assert schema["additionalProperties"] is False


def test_in_a_table_each_field_is_a_column_and_what_is_doubtful_is_named():
    asked = {"fields": ["total:number", "error", "when:date", "who"]}
    assert table_columns(asked) == ("total", "error_", "when", "who", "complete", "doubtful")
    one = {"value": None, "confidence": 0.9, "problem": ""}
    result = {
        "fields": [
            {**one, "name": "total", "value": 12.5},
            {**one, "name": "error", "value": "none", "confidence": 0.314},
            {**one, "name": "when", "problem": "no date"},
            {**one, "name": "who", "confidence": 0.1},
        ],
        "complete": False,
    }
    row = table_row(result)
    assert tuple(row) == table_columns(asked)
    assert (row["total"], row["error_"], row["when"]) == (12.5, "none", None)
    assert row["doubtful"] == "error: confidence 0.31; when: no date"


def test_a_table_without_fields_is_refused():
    with pytest.raises(BadRequest):
        table_columns({})


def test_where_no_language_tells_thousands_from_a_fraction_it_is_said():
    asked = field("rate:number"), answer("rate", "1.085")
    value = told(*asked, "EUR/USD 1.085", 0, loose=False)
    assert (value.value, value.problem) == (1085, "thousands or fraction")
    value = told(*asked, "EUR/USD 1.085", 0, loose=False, language="en")
    assert (value.value, value.problem) == (1.085, "")


def test_the_language_of_the_text_is_that_of_its_numbers():
    def read(text: str) -> tuple:
        request = extract.Extract(text=text, fields=("rate:number",))
        result = asyncio.run(result_of(extract, request, lambda _: '{"rate": "1.085"}'))
        (one,) = result["fields"]
        return one["value"], one["problem"]

    assert read("The rate of the euro is 1.085 and it was lower before") == (1.085, "")
    assert read("Il prezzo della casa è di 1.085 per ogni mese") == (1085, "")
    assert read("EUR 1.085") == (1085, "thousands or fraction")


def test_a_number_too_large_for_the_wire_is_no_value():
    words = "9" * 25
    value = told(field("id:number"), answer("id", words), f"id {words}", 0, loose=False)
    assert (value.value, value.words, value.problem) == (None, words, "number too large")


def test_a_part_of_a_longer_number_is_no_value():
    value = told(field("n:number"), answer("n", "240.50"), TEXT, 0, loose=False)
    assert (value.value, value.problem) == (None, "not in the text")
