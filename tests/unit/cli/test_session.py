from __future__ import annotations

import pytest

from dimora.cli.session import HELP, Commands, Gatherer, Session, run_command
from dimora.core.errors import NotFound
from dimora.core.types import Text, Thought
from dimora.tasks.generation import Fold
from dimora.tasks.options import Options


def missing(name: str) -> str:
    raise NotFound(f"model '{name}' not found", hint="dimora pull it")


COMMANDS = Commands(
    show=lambda part: f"shows {part}",
    load=missing,
    save=lambda name: f"saved {name}",
    list_models=lambda: "a\nb",
)


@pytest.fixture
def session() -> Session:
    return Session(model="m")


def told(session: Session, line: str) -> str | None:
    return run_command(session, line, COMMANDS)


def test_the_conversation_is_sent_along(session):
    session.request("first")
    session.remember(Fold(text="answer", thought="hm"))
    request = session.request("second")
    assert [m.role for m in request.messages] == ["user", "assistant", "user"]
    assert request.messages[1].parts == (Thought("hm"), Text("answer"))


def test_a_question_that_failed_was_never_asked(session):
    session.request("first")
    session.take_back()
    assert session.messages == []
    session.request("second")
    session.remember(Fold())
    assert session.messages == []


def test_parameters_pile_up_and_stops_are_gathered(session):
    assert told(session, "/set parameter temperature 0.2") == "Set parameter temperature to 0.2."
    told(session, "/set parameter stop END")
    told(session, "/set parameter stop STOP")
    assert session.options == Options(temperature=0.2, stop=("END", "STOP"))
    assert session.request("x").options == session.options


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/set parameter temperature", "needs a value"),
        ("/set parameter colour red", "unknown parameter 'colour'"),
        ("/set parameter num_ctx many", "invalid int value [many]"),
        ("/set format xml", "the format is json"),
        ("/set colour", "unknown setting 'colour'"),
        ("/set think purple", "cannot think 'purple'"),
        ("/load nobody", "model 'nobody' not found"),
        ("/load", "Unknown command"),
        ("/dance", "Unknown command '/dance'"),
    ],
)
def test_mistakes_are_told_and_change_nothing(session, line, words):
    assert words in told(session, line)
    assert session == Session(model="m")


def test_switches_switch(session):
    for line, attribute, value in (
        ("/set verbose", "verbose", True),
        ("/set quiet", "verbose", False),
        ("/set nowordwrap", "wordwrap", False),
        ("/set wordwrap", "wordwrap", True),
        ("/set think", "think", True),
        ("/set think high", "think", "high"),
        ("/set think false", "think", False),
        ("/set nothink", "think", False),
        ("/set nohistory", "history", False),
        ("/set format json", "json_schema", {"type": "object"}),
        ("/set noformat", "json_schema", None),
        ("/set system Be kind.", "system", "Be kind."),
    ):
        assert told(session, line)
        assert getattr(session, attribute) == value, line


def test_the_system_text_goes_first(session):
    told(session, "/set system Be kind.")
    assert session.request("x").messages[0].text == "Be kind."


def test_clear_forgets_and_the_rest_is_passed_on(session):
    session.request("x")
    told(session, "/clear")
    assert session.messages == []
    assert told(session, "/show") == "shows info"
    assert told(session, "/show system") == "shows system"
    assert told(session, "/save mine") == "saved mine"
    assert told(session, "/list") == "a\nb"
    assert told(session, "/?") == HELP
    assert told(session, "/bye") is None
    assert told(session, "/exit") is None


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["plain"], "plain"),
        (['"""one line"""'], "one line"),
        (['"""', "a", "b", '"""'], "a\nb"),
        (['"""a', "", 'b"""'], "a\n\nb"),
    ],
)
def test_three_quotes_hold_several_lines_together(lines, text):
    gatherer = Gatherer()
    results = [gatherer.add(line) for line in lines]
    assert results[:-1] == [None] * (len(lines) - 1)
    assert results[-1] == text
    assert not gatherer.open


def test_a_dropped_text_is_forgotten():
    gatherer = Gatherer()
    gatherer.add('"""lost')
    gatherer.drop()
    assert gatherer.add("kept") == "kept"
