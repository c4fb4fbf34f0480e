"""Values are found where they stand, and read as what they are."""

from __future__ import annotations

import pytest

from dimora.core.errors import BadRequest
from dimora.tasks.base import Token
from dimora.tasks.ready._values import (
    find_equal,
    find_span,
    least_logprob,
    read_kind,
    read_value,
)

TEXT = "Supplier: Officina\n  Bianchi. Total: EUR 1.240,50"


def test_a_value_is_found_as_it_stands():
    start, end = find_span("EUR 1.240,50", TEXT)
    assert TEXT[start:end] == "EUR 1.240,50"


def test_white_space_capitals_and_marks_around_do_not_hide_a_value():
    start, end = find_span('"officina bianchi."', TEXT)
    assert TEXT[start:end] == "Officina\n  Bianchi"


@pytest.mark.parametrize("value", ["", " ", "Rossi", "..", ". *"])
def test_what_is_not_there_is_not_found(value):
    assert find_span(value, TEXT) is None


@pytest.mark.parametrize(
    ("words", "number"),
    [
        ("1.240,50 €", 1240.5),
        ("$1,240.50", 1240.5),
        ("1'240", 1240),
        ("1 240 000", 1240000),
        ("12,5 kg", 12.5),
        ("0.125", 0.125),
        ("1.200", 1200),
        ("1.234.567", 1234567),
        ("-3", -3),
        ("− 3,5", -3.5),
        ("about 30 days", 30),
    ],
)
def test_numbers_are_read_as_people_write_them(words, number):
    assert read_value("number", words) == number


@pytest.mark.parametrize(
    ("words", "date"),
    [
        ("3 May 2026", "2026-05-03"),
        ("May 3rd, 2026", "2026-05-03"),
        ("3 maggio 2026", "2026-05-03"),
        ("el 3 de mayo de 2026", "2026-05-03"),
        ("03/05/2026", "2026-05-03"),
        ("2026-05-03", "2026-05-03"),
        ("12/31/2025", "2025-12-31"),
        ("1.2.26", "2026-02-01"),
        ("15 gennaio 2026", "2026-01-15"),
        ("15 enero 2026", "2026-01-15"),
        ("martedì 5 maggio 2026", "2026-05-05"),
        ("martes 5 de mayo de 2026", "2026-05-05"),
        ("mar 5 mag 2026", "2026-05-05"),
        ("Mar 5, 2026", "2026-03-05"),
        ("Sept. 3rd, 2026", "2026-09-03"),
        ("ore 12 del 5 maggio 2026", "2026-05-05"),
        ("n. 118 del 5 maggio 2026", "2026-05-05"),
    ],
)
def test_dates_are_read_in_three_languages(words, date):
    assert read_value("date", words) == date


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("number", "many"),
        ("date", "31/02/2026"),
        ("date", "soon"),
        ("date", "5 maggiore 2026"),
        ("date", "May"),
        ("yes/no", "perhaps"),
        ("yes/no", ""),
    ],
)
def test_what_is_no_value_of_its_kind_is_an_error(kind, words):
    with pytest.raises(ValueError):
        read_value(kind, words)


@pytest.mark.parametrize(("words", "flag"), [("Sì", True), ("yes, both", True), ("No.", False)])
def test_yes_and_no_are_read(words, flag):
    assert read_value("yes/no", words) is flag


def test_an_unknown_kind_is_refused_with_those_there_are():
    with pytest.raises(BadRequest) as caught:
        read_kind("colour")
    assert "yes/no" in caught.value.hint


def test_confidence_is_that_of_the_weakest_token_of_the_value():
    tokens = [
        Token(1, '{"a":', -9.0),
        Token(2, '"x', -0.1),
        Token(3, 'y"', -0.7),
        Token(4, "}", -5),
    ]
    assert least_logprob(tokens, 5, 9) == -0.7
    assert least_logprob(tokens, 90, 99) == 0.0


@pytest.mark.parametrize(
    ("kind", "words", "standing"),
    [
        ("number", "1588.43", "1.588,43"),
        ("number", "1,588.43", "1.588,43"),
        ("number", "63450", "63 450"),
        ("date", "2026-05-03", "3 maggio 2026"),
        ("date", "03/05/2026", "3 maggio 2026"),
        ("date", "7 October 2026", "7 de octubre de 2026"),
    ],
)
def test_a_number_or_date_is_found_in_another_spelling(kind, words, standing):
    text = f"Item 1\n12 of 3 maggio 2027: {standing}\nand 99"
    assert find_equal(kind, words, text) == (
        text.index(standing),
        text.index(standing) + len(standing),
    )


@pytest.mark.parametrize(
    ("kind", "words"), [("number", "77"), ("number", "none"), ("date", "2025-01-01"), ("text", "x")]
)
def test_what_is_not_there_in_any_spelling_is_not_found(kind, words):
    assert find_equal(kind, words, "12 of 3 May 2026, x 7.7") is None


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("number", "18", "Invoice 2026/118"),
        ("number", "240.50", "EUR 1,240.50"),
        ("number", "1", "EUR 1,240.50"),
        ("number", "240", "12\u00a0240"),
        ("date", "1/5/2026", "11/5/2026"),
        ("date", "1/5/202", "1/5/2026"),
    ],
)
def test_a_part_of_a_longer_number_or_date_is_not_found(kind, value, text):
    assert find_span(value, text, kind) is None
    assert find_equal(kind, value, text) is None


@pytest.mark.parametrize(
    ("kind", "value", "text", "start"),
    [
        ("yes/no", "no", "Milano: no", 8),
        ("text", "Rossi", "Dante Rossini, Ugo Rossi", 19),
        ("text", "rossi", "Dante Rossini, Ugo Rossi", 19),
        ("text", "A12", "BA12, A123, A12.", 12),
        ("text", "IVA", "l'IVA", 2),
        ("text", "東京", "東京都", 0),
    ],
)
def test_a_part_of_a_longer_word_is_no_value(kind, value, text, start):
    assert find_span(value, text, kind) == (start, start + len(value))
    if start > 2:
        assert find_span(value, text[: start - 1], kind) is None


def test_a_part_of_a_number_is_not_found_in_another_spelling_either():
    assert find_equal("number", "118", "Invoice 2026/118") is None
    assert find_equal("number", "118", "Invoice 2026/118 of 118 EUR") == (20, 23)


def test_the_number_is_looked_for_behind_where_it_is_a_part_and_ends_at_a_full_stop():
    text = "Invoice 2026/118 of 18."
    assert find_span("18", text, "number") == (20, 22)


@pytest.mark.parametrize(
    ("words", "language", "number"),
    [
        ("1.085", "en", 1.085),
        ("1,085", "en", 1085),
        ("2.500 kg", "it", 2500),
        ("2,500 kg", "es", 2.5),
        ("1234.567", "it", 1234.567),
        ("1.234.567", "en", 1234567),
    ],
)
def test_the_language_tells_thousands_from_a_fraction(words, language, number):
    assert read_value("number", words, language) == number


@pytest.mark.parametrize("words", ["9223372036854775808", "-1" + "0" * 30, "1" * 5000,
                                   "1" * 400 + ".5"])  # fmt: skip
def test_a_number_that_cannot_be_sent_is_none(words):
    with pytest.raises(OverflowError):
        read_value("number", words)
    assert find_equal("number", "7", f"{words} and 7") == (len(words) + 5, len(words) + 6)
