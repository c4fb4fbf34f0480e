"""What a model must not touch is kept from it, and comes back."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimora.core.errors import BadRequest
from dimora.tasks.ready._placeholders import Piece, between, mask, put_together, speaks, unmask
from dimora.tasks.ready._shapes import CUE_CHARACTERS, form_of, rewrapped, take_apart

MARKDOWN = """# Welcome, {name}

> - [ ] Read `this` first
1. Go to https://example.org/a?b=1 now.

| head | value |
|---|---|
| one | 12 |

```python
print("leave me")
```
The end.
"""
SRT = """1
00:00:01,000 --> 00:00:02,500
Hello there.
- Who?

2
00:00:03,000 --> 00:00:04,000
42
"""
PO = """# comment
msgid ""
msgstr "Language: it\\n"

msgid "Save %s"
msgstr ""

msgid "Done"
msgstr "Fatto"

msgid "%d file"
msgid_plural "%d files"
msgstr[0] ""
msgstr[1] ""
"""
JSON = '{"title": "Hello \\"you\\"", "n": 3, "list": ["One two", "42"], "url": "https://a.b"}'


def spoken(text: str, form) -> list[str]:
    return [piece.text for piece in take_apart(text, form) if piece.speaks]


@pytest.mark.parametrize(
    ("text", "form"), [(MARKDOWN, "text"), (SRT, "srt"), (JSON, "json"), ("Hello", "text")]
)
def test_the_form_of_a_file_is_seen_and_its_pieces_are_the_whole(text, form):
    assert form_of(text) == form
    assert put_together(take_apart(text, form)) == text


def test_of_markdown_only_words_are_translated():
    assert spoken(MARKDOWN, "text") == [
        "Welcome, {name}",
        "Read `this` first",
        "Go to https://example.org/a?b=1 now.",
        "head",
        "value",
        "one",
        "The end.",
    ]


def test_of_subtitles_only_words_are_translated():
    assert spoken(SRT, "srt") == ["Hello there.", "- Who?"]


def test_a_cue_of_one_speaker_is_translated_as_a_whole_and_broken_into_even_lines():
    cue = "1\n00:00:01,000 --> 00:00:02,500\nI have been waiting\nfor you all day.\n"
    (piece,) = (p for p in take_apart(cue, "srt") if p.speaks)
    assert piece.text == "I have been waiting\nfor you all day."
    told = rewrapped("Ti ho aspettato tutto il santo giorno davanti alla stazione.", piece)
    first, second = told.split("\n")
    assert max(len(first), len(second)) <= CUE_CHARACTERS
    assert abs(len(first) - len(second)) < 10
    assert rewrapped("Ti ho aspettato.", piece) == "Ti ho aspettato."


def test_webvtt_keeps_its_head_its_notes_and_its_settings():
    text = (
        "WEBVTT - a film\n\nNOTE not to be read\n\nintro\n"
        "00:01.000 --> 00:04.000 align:start\nGood evening.\n"
    )
    assert form_of(text) == "srt"
    assert spoken(text, "srt") == ["Good evening."]
    assert put_together(take_apart(text, "srt")) == text


WRAPPED = """This paragraph was broken into lines by somebody whose editor is not very
wide, so that one sentence stands on several of them.

- A point of a list that goes on for so long that it needs another line to
  be told.

Rossi & Sons, makers of fine wooden furniture since 1921
Via Roma 4
Torino
"""


def test_lines_that_were_broken_at_a_width_are_one_paragraph_and_others_are_not():
    first, second, *others = spoken(WRAPPED, "text")
    assert first.startswith("This paragraph") and first.endswith("several of them.")
    assert second.startswith("A point") and second.endswith("\n  be told.")
    assert others == [
        "Rossi & Sons, makers of fine wooden furniture since 1921",
        "Via Roma 4",
        "Torino",
    ]
    assert put_together(take_apart(WRAPPED, "text")) == WRAPPED


def test_a_paragraph_is_broken_again_at_its_width_and_never_within_a_placeholder():
    piece = Piece("", True, 20, "  ")
    told = rewrapped('one two three four <a href="a b c d e f g h"> five six', piece)
    assert told == 'one two three four\n  <a href="a b c d e f g h">\n  five six'


def test_keys_that_are_to_be_skipped_keep_their_values():
    text = '{"id": "main page", "meta": {"by": "some one"}, "a": [{"url": "x y", "t": "Hi you"}]}'
    pieces = take_apart(text, "json", ("id", "meta.*", "a.url"))
    assert [json.loads(p.text) for p in pieces if p.speaks] == ["Hi you"]
    assert put_together(pieces) == text


def test_a_fuzzy_entry_is_translated_anew_and_its_mark_goes():
    text = (
        '#, fuzzy, python-format\n#| msgid "Old %s"\nmsgid "New %s"\nmsgstr "Vecchio %s"\n\n'
        '#, fuzzy\nmsgid "One"\nmsgstr "Due"\n\n#, python-format\nmsgid "By %s"\nmsgstr "Da %s"\n'
    )
    assert [json.loads(w) for w in spoken(text, "po")] == ["New %s", "One"]
    assert put_together(take_apart(text, "po")) == (
        '#, python-format\nmsgid "New %s"\nmsgstr "New %s"\n\n'
        'msgid "One"\nmsgstr "One"\n\n#, python-format\nmsgid "By %s"\nmsgstr "Da %s"\n'
    )


def test_a_word_document_is_seen_by_its_first_bytes():
    assert form_of(base64.b64encode(b"PK\x03\x04 and so on").decode()) == "docx"
    assert form_of("UEsDB is how it begins") == "text"


def test_links_keep_their_addresses_and_lend_their_words():
    words = 'See [the guide](https://a.b/c_(d) "t") and ![a cat](cat.png) or [this][1].'
    masked, kept = mask(words)
    assert masked == "See <1>the guide<2> and <3>a cat<4> or <5>this<6>."
    assert unmask(masked, kept) == words
    assert unmask("Vedi <2>la guida<1> e <3>un gatto<4> o <5>questo<6>.", kept) is None


def test_of_json_only_values_with_words_are_translated():
    assert [json.loads(w) for w in spoken(JSON, "json")] == ['Hello "you"', "One two"]


def test_of_po_only_what_is_not_yet_translated_is():
    assert form_of(PO) == "po"
    assert [json.loads(w) for w in spoken(PO, "po")] == ["Save %s", "%d file", "%d files"]
    whole = put_together(take_apart(PO, "po"))
    assert 'msgid "Save %s"\nmsgstr "Save %s"\n' in whole
    assert 'msgstr "Fatto"' in whole
    assert 'msgstr "Language: it\\n"' in whole
    assert 'msgstr[1] "%d files"' in whole


def test_a_file_that_is_none_is_refused():
    with pytest.raises(BadRequest):
        take_apart("{", "json")


@pytest.mark.parametrize(
    "words",
    ["{name}", "{{ user.name }}", "%s", "%(count)d", "%1$s", "${HOME}", "<b>", "</a>", "`x = 1`",
     "https://a.b/c?d=e", "me@example.org", "&nbsp;", "\\n", "%.2f", "{0}", "{}", "{ $name }", "%%",
     "{x!r:>10}", "{n, plural, one {# file} other {# files}}", "{% if a %}", "<!-- a b -->"],
)  # fmt: skip
def test_each_kind_of_placeholder_is_masked_and_comes_back(words):
    masked, kept = mask(f"Say {words} now")
    assert (masked, kept) == ("Say <1> now", (words,))
    assert unmask("Di' <1> ora", kept) == f"Di' {words} ora"


@pytest.mark.parametrize("words", ["100% sure", "a < b", "5 > 3", "at 10% or so"])
def test_what_only_looks_like_a_placeholder_is_none(words):
    assert mask(words) == (words, ())


@pytest.mark.parametrize("told", ["no mark", "<1>", "<1> <2> <2>", "<1> <3>", "<2> <1> <0>"])
def test_a_mark_that_is_lost_or_doubled_is_noticed(told):
    assert unmask(told, ("{a}", "{b}")) is None


def test_marks_may_change_their_order():
    assert unmask("<2> di <1>", ("{a}", "{b}")) == "{b} di {a}"


def test_between_placeholders_words_are_left():
    pieces = between("Dear {name}, you have %d messages.")
    assert put_together(pieces) == "Dear {name}, you have %d messages."
    assert [p.text for p in pieces if p.speaks] == ["Dear", ", you have", "messages."]


def test_numbers_and_signs_alone_do_not_speak():
    assert not speaks("42 + {x} = 50 %")
    assert speaks("ok")


@given(st.text(st.sampled_from("ab {}%s<>1/`|#-\n\"'$\\&;:")))
def test_no_text_is_changed_by_taking_it_apart(text):
    assert put_together(take_apart(text, "text")) == text
    assert put_together(take_apart(text, "srt")) == text
    assert put_together(between(text)) == text


@given(st.text(st.sampled_from("ab {}%sd<>/`$\\&;")))
def test_what_is_masked_comes_back_whole(text):
    masked, kept = mask(text)
    assert unmask(masked, kept) == text
