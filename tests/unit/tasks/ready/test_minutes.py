"""Minutes hold to what was said."""

from __future__ import annotations

import asyncio

from dimora.tasks.ready import minutes
from dimora.tasks.ready.minutes import make_minutes, nearest_line, speakers_of
from tests.unit.tasks.ready.speaking import result_of

TEXT = minutes.EXAMPLE["text"]
WORDS = minutes.WORDS["en"]


def test_speakers_are_those_before_a_colon():
    assert speakers_of(TEXT) == ("Anna", "Marco", "Lucia")
    assert speakers_of("[10:02] Anna Rossi: hello\n[10:03] Bo (chair): yes\n") == (
        "Anna Rossi",
        "Bo",
    )
    assert speakers_of("Note: one thing\nand much more\nthat is said\nin plain lines") == ()


def test_who_and_when_are_told_only_where_the_text_says_so():
    told = [
        {
            "points": ["The roof leaks", "The roof leaks"],
            "actions": [
                {"what": "sign the offer", "who": "marco", "due": "by  Friday"},
                {"what": "call the mayor", "who": "Giulia", "due": "2 May"},
            ],
        }
    ]
    found = make_minutes(told, TEXT, "", WORDS)
    assert [item.words for item in found.points] == ["The roof leaks"]
    first, second = found.actions
    assert (first.who, first.due, first.line) == ("Marco", "by Friday", 3)
    assert (second.who, second.due) == ("", "")
    assert found.minutes.startswith("# Minutes\n\n**Present:** Anna, Marco, Lucia\n\n## Points")
    assert "**Marco**: sign the offer (by Friday)" in found.minutes


def test_what_was_not_said_is_listed():
    told = [{"points": ["They pay 9,900 euros to Gianni Verdi"]}]
    found = make_minutes(told, TEXT, "", WORDS)
    assert [u.value for u in found.unsupported] == ["9,900", "Gianni", "Verdi"]


def test_an_item_stands_at_the_line_it_is_nearest_to():
    lines = TEXT.splitlines()
    assert nearest_line("an offer of 3,200 euros", lines) == 2
    assert nearest_line("xylophone", lines) == 0


def test_words_that_never_end_leave_what_is_whole_before_them():
    def say(prompt) -> str:
        (name,) = prompt.json_schema["properties"]
        return f'{{"{name}": ["The roof leaks.", "' + "again and " * 4000

    told = asyncio.run(result_of(minutes, minutes.Minutes(text=TEXT), say))
    assert [item["words"] for item in told["points"]] == ["The roof leaks."]
    assert list(told["actions"]) == []


def test_points_decisions_and_tasks_are_asked_for_one_by_one():
    said = {
        "points": '{"points": ["The roof leaks"]}',
        "decisions": '{"decisions": ["They take the offer"]}',
        "actions": '{"actions": [{"who": "Lucia", "what": "writes", "due": "tomorrow"}]}',
    }
    told = asyncio.run(
        result_of(
            minutes,
            minutes.Minutes(text=TEXT),
            lambda prompt: said[next(iter(prompt.json_schema["properties"]))],
        )
    )
    assert [item["words"] for item in told["decisions"]] == ["They take the offer"]
    assert told["actions"][0]["who"] == "Lucia"
    assert told["actions"][0]["due"] == "tomorrow"


def test_a_word_that_says_nothing_is_no_term_and_part_of_a_word_is_none():
    told = [{"actions": [{"what": "signs", "who": "Mar", "due": "it"}]}]
    (action,) = make_minutes(told, TEXT, "", WORDS).actions
    assert (action.who, action.due) == ("", "")
