"""Answers are read the same however they are split."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dimora.prompts.reading import AnswerReader, CallOut, Piece, TextOut, ThoughtOut
from dimora.prompts.thinking import Thinking
from dimora.prompts.tool_calls import SHELF

THINK = Thinking("<think>", "</think>")
CALL = '{"name": "f", "arguments": {"a": "}{"}}'
WRITTEN = "<tool_call>\n<function=f>\n<parameter=a>\n}{\n</parameter>\n</function>\n</tool_call>"
FRAGMENTS = [
    "<think>",
    "</think>",
    " ",
    "\n",
    "<tool_call>",
    "</tool_call>",
    CALL,
    '{"name": "unknown"}',
    '{"name": "f", "parameters": {"x": [1, {"y": "\\""}]}}',
    f"[{CALL}, {CALL}]",
    "[TOOL_CALLS]",
    "f[ARGS]{}",
    "f{",
    "<|python_tag|>",
    "<function=f>",
    "<parameter=a>",
    "</parameter>",
    "</function>",
    "```json\n",
    "```",
    ";",
    ",",
    "[",
    "]",
    "{",
    "<",
    "words",
    '{"city": 1}',
    "é€🏠",
]


def reader(
    *, thinking=None, thought_open=False, tool_format="", names=("f",), schemas=None
) -> AnswerReader:
    return AnswerReader(
        thinking=thinking,
        thought_open=thought_open,
        tool_format=tool_format,
        tool_names=frozenset(names),
        schemas=schemas,
    )


def read(text: str, cuts=(), **how) -> list[Piece]:
    """All pieces of the text, cut at these places, neighbours of one kind joined."""
    one = reader(**how)
    pieces: list[Piece] = []
    start = 0
    for cut in [*sorted(cuts), len(text)]:
        pieces += one.feed(text[start:cut])
        start = cut
    pieces += one.finish()
    joined: list[Piece] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if type(piece) is type(last) and not isinstance(piece, CallOut):
            joined[-1] = type(piece)(last.text + piece.text)
        else:
            joined.append(piece)
    return joined


@settings(max_examples=400, deadline=None)
@given(
    text=st.lists(st.sampled_from(FRAGMENTS), max_size=9).map("".join),
    cuts=st.sets(st.integers(0, 120), max_size=12),
    thinking=st.sampled_from([None, THINK]),
    thought_open=st.booleans(),
    tool_format=st.sampled_from(["", *SHELF.names()]),
    names=st.sampled_from([(), ("f",), ("f", "function")]),
)
def test_how_an_answer_is_split_does_not_matter(
    text, cuts, thinking, thought_open, tool_format, names
):
    how = {
        "thinking": thinking,
        "thought_open": thought_open,
        "tool_format": tool_format,
        "names": names,
    }
    whole = read(text, **how)
    assert read(text, [c for c in cuts if c < len(text)], **how) == whole
    assert read(text, range(1, len(text)), **how) == whole


@settings(max_examples=200, deadline=None)
@given(
    text=st.lists(st.sampled_from(FRAGMENTS), max_size=9).map("".join),
    tool_format=st.sampled_from(["", "hermes", "mistral", "llama3_json", "qwen3_coder"]),
)
def test_without_calls_every_character_comes_out(text, tool_format):
    pieces = read(text, range(1, len(text)), tool_format=tool_format, names=("other",))
    assert "".join(p.text for p in pieces) == text


def test_a_thought_and_an_answer_come_apart_without_the_blank_lines_between():
    assert read("<think>\nhm\n</think>\n\nYes.", thinking=THINK) == [
        ThoughtOut("hm\n"),
        TextOut("Yes."),
    ]


def test_a_thought_the_prompt_opened_needs_no_tag():
    assert read("hm</think>Yes.", thinking=THINK, thought_open=True) == [
        ThoughtOut("hm"),
        TextOut("Yes."),
    ]


def test_a_tag_the_model_repeats_after_the_prompt_is_dropped():
    pieces = read("<think>\nhm</think>Yes.", thinking=THINK, thought_open=True)
    assert pieces == [ThoughtOut("hm"), TextOut("Yes.")]


def test_an_empty_thought_is_no_piece():
    assert read("<think>\n\n</think>\n\nYes.", thinking=THINK) == [TextOut("Yes.")]


def test_a_thought_that_is_cut_off_stays_a_thought():
    assert read("<think>hm, perhaps </thi", thinking=THINK) == [ThoughtOut("hm, perhaps </thi")]


def test_a_tag_in_the_middle_of_an_answer_is_text():
    assert read("Use <think> tags.", thinking=THINK) == [TextOut("Use <think> tags.")]


def test_a_model_that_does_not_think_writes_tags_as_text():
    assert read("<think>hm</think>") == [TextOut("<think>hm</think>")]


@pytest.mark.parametrize(
    ("tool_format", "text"),
    [
        ("hermes", f"<tool_call>\n{CALL}\n</tool_call>"),
        ("hermes", f"<tool_call>{CALL}"),
        ("hermes", CALL),
        ("mistral", f"[TOOL_CALLS] [{CALL}]"),
        ("mistral", '[TOOL_CALLS]f[ARGS]{"a": "}{"}'),
        ("llama3_json", '{"name": "f", "parameters": {"a": "}{"}}'),
        ("llama3_json", '<|python_tag|>{"name": "f", "parameters": {"a": "}{"}}'),
        ("", CALL),
        ("", f"\n ```json\n{CALL}\n```"),
        ("qwen3_coder", WRITTEN),
        ("qwen3_coder", WRITTEN.removeprefix("<tool_call>\n")),
        ("qwen3_coder", WRITTEN.removesuffix("\n</tool_call>")),
        ("qwen3_coder", f"<tool_call>\n{CALL}\n</tool_call>"),
        ("nobody knows", f'{{"function": {CALL}}}'),
        ("", '{"name": "f", "arguments": "{\\"a\\": \\"}{\\"}"}'),
    ],
)
def test_a_call_is_read_in_every_form(tool_format, text):
    assert read(text, tool_format=tool_format) == [CallOut("f", {"a": "}{"})]


def test_several_calls_come_in_order_with_the_text_before_them():
    text = f'Let me see.\n\n<tool_call>{CALL}</tool_call>\n<tool_call>{{"name": "g"}}</tool_call>\n'
    assert read(text, tool_format="hermes", names=("f", "g")) == [
        TextOut("Let me see."),
        CallOut("f", {"a": "}{"}),
        CallOut("g", {}),
    ]


def test_the_keys_of_arguments_keep_their_order():
    (found,) = read('{"name": "f", "arguments": {"z": 1, "a": 2}}')
    assert list(found.arguments) == ["z", "a"]


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name": "unknown", "arguments": {}}</tool_call>',
        "<tool_call>not json</tool_call>",
        '<tool_call>{"name": "f", "arguments": {"a": ',
        '<tool_call>{"name": "f", "arguments": [1]}</tool_call>',
        '{"name": "f", "arguments": {"n": NaN}}',
        "The tag is <tool_call>",
        f"JSON such as {CALL} in a sentence",
        '{"temperature": 21}',
        "[1, 2, 3]",
        "```python\nprint(1)\n```",
        "[TOOL_CALL",
    ],
)
def test_what_is_no_call_comes_out_unchanged(text):
    assert read(text, range(1, len(text)), tool_format="hermes") == [TextOut(text)]


def test_without_tools_a_call_is_text():
    text = f"<tool_call>{CALL}</tool_call>"
    assert read(text, tool_format="hermes", names=()) == [TextOut(text)]


def test_text_is_given_out_at_once_when_it_cannot_begin_a_call():
    one = reader(tool_format="hermes")
    assert one.feed("Hello") == [TextOut("Hello")]
    assert one.feed(" you <to") == [TextOut(" you")]
    assert one.feed("es>") == [TextOut(" <toes>")]


def test_an_answer_in_json_is_held_back_no_longer_than_its_first_key():
    one = reader()
    assert one.feed('{"na') == []
    assert one.feed('tion": ') == [TextOut('{"nation":')]


def test_a_call_without_end_is_given_back_as_text():
    start = '<tool_call>{"name": "f", "arguments": {"a": "'
    one = reader(tool_format="hermes")
    given_out = one.feed(start)
    for _ in range(300):
        given_out += one.feed("x" * 1024)
    assert "".join(p.text for p in given_out).startswith(start + "x" * 1024)
    assert not any(isinstance(p, CallOut) for p in given_out)


def test_arguments_nested_beyond_reason_are_text():
    text = '{"name": "f", "arguments": {"a": ' + "[" * 5000 + "]" * 5000 + "}}"
    assert read(text) == [TextOut(text)]


def parameters(**values: str) -> str:
    """A call of `f` with values between tags."""
    inner = "".join(f"<parameter={k}>\n{v}\n</parameter>\n" for k, v in values.items())
    return f"<tool_call>\n<function=f>\n{inner}</function>\n</tool_call>"


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "string"}, "5", "5"),
        ({"type": "string"}, "null", "null"),
        ({"type": "string"}, ' "quoted"\n\n  words ', ' "quoted"\n\n  words '),
        ({"type": "string"}, "", ""),
        ({"type": "integer"}, "5", 5),
        ({"type": "integer"}, "five", "five"),
        ({"type": "number"}, "5", 5),
        ({"type": "number"}, " -2.5e1 ", -25.0),
        ({"type": "boolean"}, "true", True),
        ({"type": "boolean"}, "False", False),
        ({"type": "array"}, '[1, {"a": null}]', [1, {"a": None}]),
        ({"type": "object"}, '{"a": [true]}', {"a": [True]}),
        ({"type": "object"}, "[1]", "[1]"),
        ({"type": ["string", "null"]}, "None", None),
        ({"type": ["string", "null"]}, "7", "7"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "7", 7),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "null", None),
        ({"$ref": "#/$defs/Place"}, '{"city": "Oslo"}', {"city": "Oslo"}),
        ({}, "5", "5"),
        (True, "5", "5"),
    ],
)
def test_a_value_between_tags_becomes_what_the_tool_takes(schema, text, value):
    schemas = {"f": {"type": "object", "properties": {"a": schema}}}
    (found,) = read(parameters(a=text), tool_format="qwen3_coder", schemas=schemas)
    assert found == CallOut("f", {"a": value})
    assert type(found.arguments["a"]) is type(value)


def test_code_between_tags_may_hold_the_tags():
    code = "print('</parameter>')\n</parameter>\nif x > 1: pass"
    text = "Let me.\n" + parameters(path="a.py", code=code) + parameters()
    whole = [
        TextOut("Let me."),
        CallOut("f", {"path": "a.py", "code": code}),
        CallOut("f", {}),
    ]
    assert read(text, tool_format="qwen3_coder") == whole
    assert read(text, range(1, len(text)), tool_format="qwen3_coder") == whole


@pytest.mark.parametrize(
    "text",
    [
        parameters(a="1").replace("=f>", "=unknown>"),
        "<tool_call>\n<function=f>\nwords\n</function>\n</tool_call>",
        "<tool_call>\n<function=f>\n<parameter=a>\n1",
        "<tool_call>\n<functional",
        "C++ has std::<function=",
    ],
)
def test_tags_that_hold_no_call_come_out_unchanged(text):
    assert read(text, range(1, len(text)), tool_format="qwen3_coder") == [TextOut(text)]
