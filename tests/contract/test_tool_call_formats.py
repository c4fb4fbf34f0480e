"""Every tool-call format has the shape that reading and forcing rely on."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimora.prompts.reading import AnswerReader, CallOut
from dimora.prompts.tool_calls import FALLBACK, SHELF, choose_format
from dimora.prompts.tool_calls.base import Found, Verdict

NAMES = frozenset({"get_weather", "f"})


@pytest.fixture(params=SHELF.names())
def tool_format(request):
    return SHELF.load(request.param)


def openers(module) -> tuple[str, ...]:
    return (*module.OPENERS, *module.FIRST_OPENERS)


def written(module, name: str, arguments: dict) -> str:
    """A call as a forced model writes it, with what closes it."""
    text = module.PREFILL + json.dumps({"name": name, module.ARGUMENTS: arguments})
    return text + "]" if module.PREFILL.endswith("[") else text


def test_the_format_of_last_resort_is_on_the_shelf():
    assert FALLBACK in SHELF.names()


def test_a_format_has_openers_that_begin_its_own_calls(tool_format):
    assert all(isinstance(o, str) and o.strip() == o and o for o in openers(tool_format))
    assert written(tool_format, "f", {}).startswith(openers(tool_format))


def test_a_format_names_the_key_of_arguments(tool_format):
    assert tool_format.ARGUMENTS in ("arguments", "parameters")


def test_a_template_that_knows_no_tools_scores_nothing(tool_format):
    template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{% endfor %}"
    assert tool_format.score(template) == 0
    assert choose_format(template) == ""


@pytest.mark.parametrize(
    "arguments",
    [{}, {"city": "Oslo"}, {"a": {"b": [1, 2.5, None, True]}}, {"code": '}]{"\\</tool_call>'}],
)
def test_what_a_format_writes_it_reads(tool_format, arguments):
    judged = tool_format.read(written(tool_format, "f", arguments), NAMES, True)
    assert isinstance(judged, Found)
    assert judged.calls == (("f", arguments),)


def test_a_call_of_an_unknown_tool_is_no_call(tool_format):
    assert tool_format.read(written(tool_format, "other", {}), NAMES, True) is Verdict.NO


def test_a_judgement_stands_whatever_comes_after(tool_format):
    text = written(tool_format, "f", {"a": "}"}) + "\n</tool_call> and more {}[]```"
    for opener in openers(tool_format):
        if text.startswith(opener):
            break
    last: Found | Verdict = Verdict.MORE
    for end in range(len(opener), len(text) + 1):
        judged = tool_format.read(text[:end], NAMES)
        assert last in (Verdict.MORE, judged)
        last = judged
    assert isinstance(last, Found)


@given(rest=st.text(alphabet='{}[]",:; \n`f<>/|_ARGS\\', max_size=40), data=st.data())
def test_a_format_judges_any_text_without_failing(rest, data):
    module = SHELF.load(data.draw(st.sampled_from(SHELF.names())))
    text = data.draw(st.sampled_from(openers(module))) + rest
    judged = module.read(text, NAMES, data.draw(st.booleans()))
    if isinstance(judged, Found):
        assert 0 < judged.end <= len(text)
        assert all(name in NAMES for name, _ in judged.calls)
    else:
        assert judged in (Verdict.MORE, Verdict.NO)


def test_the_reader_finds_calls_of_every_format(tool_format):
    name = tool_format.__name__.rpartition(".")[2]
    reader = AnswerReader(thinking=None, thought_open=False, tool_format=name, tool_names=NAMES)
    pieces = reader.feed(written(tool_format, "f", {"a": 1})) + reader.finish()
    assert pieces == [CallOut("f", {"a": 1})]
