from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimora.cli.writing import Wrapper, cells_of, figures, write_answer
from dimora.core.errors import WorkerDied
from dimora.core.types import ToolCall, Usage
from dimora.tasks.generation import CallPiece, GenerationDone, TextPiece, ThoughtPiece


@given(st.lists(st.text(alphabet="ab \n", max_size=12)), st.integers(5, 20))
def test_wrapping_breaks_only_at_spaces_and_fits_words_that_can_fit(pieces, width):
    wrapper = Wrapper(width)
    out = "".join(wrapper.feed(p) for p in pieces) + wrapper.finish()
    text = "".join(pieces)
    assert out.replace("\n", "").replace(" ", "") == text.replace("\n", "").replace(" ", "")
    for line in out.split("\n"):
        assert len(line) <= width or " " not in line.strip()


def test_no_width_means_no_wrapping():
    wrapper = Wrapper(0)
    assert wrapper.feed("a b " * 100) == "a b " * 100


def test_wide_letters_come_at_once_and_take_two_places():
    wrapper = Wrapper(7)
    assert wrapper.feed("你好世") == "你好世"
    assert wrapper.feed("界 ok") == "\n界 "
    assert wrapper.finish() == "ok"


@pytest.mark.parametrize(("text", "cells"), [("abc", 3), ("è", 1), ("e\u0300", 1), ("日本", 4)])
def test_the_width_of_a_word_is_what_the_terminal_shows(text, cells):
    assert cells_of(text) == cells


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal()


def test_a_thought_is_dim_and_the_answer_is_not(terminal):
    write_answer([ThoughtPiece(text="hm"), TextPiece(text="yes")], out=terminal)
    assert terminal.getvalue() == "\x1b[2mhm\x1b[0m\n\nyes\n"


@pytest.mark.parametrize("last", [GenerationDone(reason="length"), KeyboardInterrupt()])
def test_a_thought_that_is_cut_does_not_leave_the_terminal_dim(terminal, last):
    def events():
        yield ThoughtPiece(text="hm")
        if isinstance(last, KeyboardInterrupt):
            raise last
        yield last

    write_answer(events(), out=terminal)
    assert terminal.getvalue() == "\x1b[2mhm\x1b[0m\n"


def test_an_error_in_a_thought_is_raised_and_leaves_a_plain_terminal(terminal):
    def events():
        yield ThoughtPiece(text="hm")
        raise WorkerDied("gone")

    with pytest.raises(WorkerDied):
        write_answer(events(), out=terminal)
    assert terminal.getvalue() == "\x1b[2mhm\x1b[0m\n"


def test_an_error_before_the_first_word_writes_nothing():
    def events():
        raise WorkerDied("gone")
        yield

    out = io.StringIO()
    with pytest.raises(WorkerDied):
        write_answer(events(), out=out)
    assert out.getvalue() == ""


def test_an_answer_with_a_thought_and_a_call_reads_well_without_a_terminal():
    out = io.StringIO()
    events = [
        ThoughtPiece(text="hm"),
        TextPiece(text="Well."),
        CallPiece(index=0, call=ToolCall(id="1", name="look", arguments={"at": "sky"})),
        GenerationDone(),
    ]
    fold = write_answer(events, out=out)
    assert out.getvalue() == "Thinking...\nhm\n...done thinking.\n\nWell.look({'at': 'sky'})\n\n"
    assert fold.ended
    assert fold.text == "Well."


def test_thoughts_can_be_hidden():
    out = io.StringIO()
    write_answer([ThoughtPiece(text="hm"), TextPiece(text="x")], out=out, hide_thinking=True)
    assert out.getvalue() == "x\n"


def test_an_interrupted_answer_keeps_what_came_and_is_not_ended():
    def events():
        yield TextPiece(text="so far")
        raise KeyboardInterrupt

    out = io.StringIO()
    fold = write_answer(events(), out=out)
    assert (fold.text, fold.ended) == ("so far", False)


WILD = "a\x1b]52;c;eA==\x07\x9b2Jb\r\nc\u202e\td \U0001f469\u200d\U0001f52c e\u00a0f"
TAME = "a\\x1b]52;c;eA==\\x07\\x9b2Jb\nc\\u202e\td \U0001f469\u200d\U0001f52c e\u00a0f"


def test_what_a_model_writes_does_not_steer_a_terminal(terminal):
    call = ToolCall(id="1", name="\x1b[2J", arguments={})
    events = [ThoughtPiece(text=WILD), TextPiece(text=WILD), CallPiece(index=0, call=call)]
    fold = write_answer(events, out=terminal, wordwrap=False)
    expected = f"\x1b[2m{TAME}\x1b[0m\n\n{TAME}\\x1b[2J({{}})\n\n"
    assert terminal.getvalue() == expected
    assert fold.text == WILD


def test_what_a_model_writes_into_a_file_is_as_it_is():
    out = io.StringIO()
    write_answer([TextPiece(text=WILD)], out=out)
    assert out.getvalue() == f"{WILD}\n"


def test_figures_are_those_people_know():
    usage = Usage(
        prompt_tokens=26,
        output_tokens=100,
        prompt_seconds=0.13,
        output_seconds=2.0,
        total_seconds=2.5,
        load_seconds=0.25,
    )
    assert figures(usage).splitlines() == [
        "total duration:       2.5s",
        "load duration:        250ms",
        "prompt eval count:    26 token(s)",
        "prompt eval duration: 130ms",
        "prompt eval rate:     200.00 tokens/s",
        "eval count:           100 token(s)",
        "eval duration:        2s",
        "eval rate:            50.00 tokens/s",
    ]


def test_a_figure_that_was_not_measured_is_not_told():
    assert figures(Usage(prompt_tokens=8, total_seconds=1.0)).splitlines() == [
        "total duration:       1s",
        "prompt eval count:    8 token(s)",
    ]
