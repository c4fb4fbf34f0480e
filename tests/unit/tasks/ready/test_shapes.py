"""What a model must not touch is kept from it, and comes back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimora.core.errors import BadRequest
from dimora.tasks.ready._shapes import (
    between,
    form_of,
    mask,
    put_together,
    speaks,
    take_apart,
    unmask,
)

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
     "https://a.b/c?d=e", "me@example.org", "&nbsp;", "\\n", "%.2f", "{0}", "{}"],
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
