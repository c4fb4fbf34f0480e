"""Personal data are found by their form and their check digits."""

from __future__ import annotations

import asyncio
import threading

import pytest

from dimora.tasks.ready import moderate
from dimora.tasks.ready._private import find_private
from tests.unit.tasks.ready.speaking import result_of


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("anna.rossi@example.org", "email"),
        ("+39 333 123 4567", "phone"),
        ("010 5551234", "phone"),
        ("IT60 X054 2811 1010 0000 0123 456", "iban"),
        ("GB29NWBK60161331926819", "iban"),
        ("4111 1111 1111 1111", "card"),
        ("RSSMRA85T10A562S", "tax code"),
        ("12345678Z", "tax code"),
        ("192.168.1.20", "ip address"),
    ],
)
def test_it_is_found_where_it_stands(words, kind):
    text = f"Write to {words}, please"
    (span,) = find_private(text)
    assert (span.kind, text[span.start : span.end]) == (kind, words)


@pytest.mark.parametrize(
    "text",
    ["4111 1111 1111 1112", "IT60 X054 2811 1010 0000 0123 457", "999.1.2.3", "3 May 2026, 12:30",
     "chapter 12, page 345", "0000 0000 0000 0000"],
)  # fmt: skip
def test_what_fails_its_check_is_none(text):
    assert [s for s in find_private(text) if s.kind != "phone"] == []


def test_words_in_capitals_around_an_account_do_not_hide_it():
    spans = find_private("IBAN IT60 X054 2811 1010 0000 0123 456. BIC UNCRITMM")
    assert [span.kind for span in spans] == ["iban"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("IBAN IT60X0542811101000000123456 BIC BPMOIT22XXX", ["IT60X0542811101000000123456"]),
        ("IT60 X054 2811 1010 0000 0123 456 BIC BPMO", ["IT60 X054 2811 1010 0000 0123 456"]),
        (
            "IT60 X054 2811 1010 0000 0123 456 GB29 NWBK 6016 1331 9268 19",
            ["IT60 X054 2811 1010 0000 0123 456", "GB29 NWBK 6016 1331 9268 19"],
        ),
        ("CONTO AB12 IBAN IT60X0542811101000000123456", ["IT60X0542811101000000123456"]),
        ("4111 1111 1111 1111 12/28", ["4111 1111 1111 1111"]),
        ("4111-1111-1111-1111 123 12/28", ["4111-1111-1111-1111"]),
    ],
)
def test_what_follows_an_account_or_a_card_does_not_hide_it(text, found):
    spans = [s for s in find_private(text) if s.kind in ("iban", "card")]
    assert [text[span.start : span.end] for span in spans] == found


def test_short_numbers_of_which_some_have_a_sum_by_chance_are_no_card():
    assert find_private("923 335 750 281 663 698") == ()


@pytest.mark.parametrize("words", ["+39 (0)10 5551234", "(010) 555-1234", "333/1234567"])
def test_a_phone_number_is_found_with_its_marks(words):
    assert [span.kind for span in find_private(f"Call {words}.")] == ["phone"]


@pytest.mark.parametrize("words", ["01" + "1" * 20, "0123 4567a", "0123 4567 8"])
def test_a_run_of_digits_that_nobody_dials_is_no_phone(words):
    assert find_private(words) == ()


def test_what_overlaps_is_told_once():
    assert [s.kind for s in find_private("4111 1111 1111 1111 and 0039 010 5551234")] == [
        "card",
        "phone",
    ]


def test_a_text_is_searched_off_the_event_loop(monkeypatch):
    ran = []
    monkeypatch.setattr(
        moderate, "find_private", lambda _: ran.append(threading.current_thread()) or ()
    )
    request = moderate.Moderate(text="a")
    asyncio.run(result_of(moderate, request, lambda p: f'"{p.json_schema["enum"][0]}"'))
    assert ran
    assert threading.main_thread() not in ran
