"""Personal data are found by their form and their check digits."""

from __future__ import annotations

import pytest

from dimora.tasks.ready._private import find_private


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
