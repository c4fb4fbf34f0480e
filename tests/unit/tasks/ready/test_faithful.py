"""What a summary says and its source does not."""

from __future__ import annotations

import pytest

from dimora.tasks.ready._faithful import digits_of, find_unsupported

SOURCE = (
    "On 3 May 2026 Anna Rossi sold 1,200 shares of Banca d'Italia for €4.50 each. "
    "The twelve members of the board met in São Paulo. IBM declined."
)


def told(text: str) -> list[tuple[str, str]]:
    return [(u.value, u.kind) for u in find_unsupported(text, SOURCE)]


@pytest.mark.parametrize(
    "text",
    [
        "Rossi sold 1.200 shares at 4,5.",
        "The board had 12 members and met in Sao Paulo.",
        "Rossi's shares went for 4.50.",
        "Yesterday the board met. However, IBM declined.",
        "- Shares were sold.\n- Nobody came.",
        "",
    ],
)
def test_what_the_source_says_in_other_words_is_supported(text):
    assert told(text) == []


def test_a_number_the_source_has_not_is_told_once():
    assert told("He sold 1,300 shares, yes 1,300.") == [("1,300", "number")]


def test_a_name_the_source_has_not_is_told():
    assert told("The shares went to Giulia Verdi of IBM.") == [
        ("Giulia", "name"),
        ("Verdi", "name"),
    ]


def test_two_capital_words_that_begin_a_sentence_are_a_name():
    assert told("Marco Bianchi sold them.") == [("Marco", "name"), ("Bianchi", "name")]


def test_an_acronym_is_a_name_wherever_it_stands():
    assert told("FIAT declined.") == [("FIAT", "name")]


@pytest.mark.parametrize(
    ("one", "other"),
    [("1.200,50", "1,200.5"), ("1'200", "1200"), ("0,5", "0.50"), ("007", "7"), ("0", "0.0")],
)
def test_one_number_in_two_spellings_is_one_number(one, other):
    assert digits_of(one) == digits_of(other)


def test_twelve_hundred_is_not_a_dozen():
    assert digits_of("1.200") != digits_of("1.2")
