from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from dimora.cli.writing import Wrapper, figures, write_answer
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
