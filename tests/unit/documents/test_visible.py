"""What nobody sees goes, and is counted; everything else stays."""

from __future__ import annotations

import unicodedata

import pytest

from dimora.documents.visible import without_invisible

UNSEEN = {
    "tags": "".join(chr(c) for c in range(0xE0000, 0xE0080)),
    "zero width": "\u200b\u200c\u200d\u2060\ufeff",
    "variation selectors": "\ufe00\ufe0f\U000e0100\U000e01ef",
    "directions": "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c",
    "soft hyphen": "\u00ad",
    "controls": "\x00\x01\x08\x1b\x7f\x9f",
    "fillers": "\u115f\u1160\u3164\uffa0\u034f",
    "operators": "\u2061\u2062\u2063\u2064",
}


@pytest.mark.parametrize("unseen", UNSEEN.values(), ids=UNSEEN)
def test_what_hides_between_letters_is_removed_and_counted(unseen):
    hidden = "a".join(["", *unseen, ""])
    assert without_invisible(hidden) == ("a" * (len(unseen) + 1), len(unseen))


def test_every_tag_and_every_selector_of_variation_goes():
    every = [*range(0xE0000, 0xE0080), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]
    assert all(without_invisible(chr(c)) == ("", 1) for c in every)


def test_format_characters_that_are_not_seen_all_go():
    """Of the category Cf only signs that are drawn stay: numbers of Arabic, Syriac and Kaithi."""
    left = [
        chr(c)
        for c in range(0x110000)
        if unicodedata.category(chr(c)) == "Cf" and without_invisible(chr(c))[0]
    ]
    drawn = ("ARABIC", "SYRIAC", "KAITHI", "EGYPTIAN", "SHORTHAND")
    assert all(unicodedata.name(c).startswith(drawn) for c in left), [hex(ord(c)) for c in left]


@pytest.mark.parametrize(
    "text", ["È già così, «perché»: 5 €.", "ñandú ¿qué?", "Привет", "日本語", "a\tb\nc", "\u00a0"]
)
def test_what_is_seen_stays_as_it_is(text):
    assert without_invisible(text) == (text, 0)


def test_line_ends_of_all_systems_are_one():
    assert without_invisible("a\r\nb\rc\u2028d\x0ce")[0] == "a\nb\nc\nd\ne"
