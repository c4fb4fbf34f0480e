"""What OpenAI's bodies become."""

from __future__ import annotations

import base64
import json

import pytest

from dimora.core.errors import BadRequest, UnsupportedFeature
from dimora.core.types import Image, Message, Text, Thought, ToolCall, ToolResult
from dimora.dialects import openai
from dimora.dialects.base import Incoming
from dimora.tasks.embed import Embed
from dimora.tasks.generate import Generate
from dimora.tasks.options import Options

HELLO = [{"role": "user", "content": "x"}]
PIXEL = b"\x89PNG"
URI = "data:image/png;base64," + base64.b64encode(PIXEL).decode()
DEFAULTS = Options(temperature=1.0, top_p=1.0)
TOOLS = [{"type": "function", "function": {"name": "f"}}]
NAMED = {"type": "function", "function": {"name": "f"}}
OBJECT = {"type": "json_object"}


def asked(path: str, **body):
    decode = {r.path: r.decode for r in openai.ROUTES}[f"/v1/{path}"]
    return decode(Incoming(method="POST", body=json.dumps({"model": "m"} | body).encode())).request


def chat(**body):
    return asked("chat/completions", **({"messages": HELLO} | body))


def test_the_defaults_are_openais():
    assert chat().options == DEFAULTS
    assert chat(temperature=0, top_p=0.5).options == Options(temperature=0.0, top_p=0.5)
    lower = chat(options={"temperature": 0.3, "top_k": 2}, top_k=5).options
    assert lower == Options(temperature=0.3, top_p=1.0, top_k=5)


def test_every_control_of_sampling_arrives():
    request = chat(
        max_tokens=5,
        seed=7,
        stop=["a", "b"],
        frequency_penalty=0.1,
        presence_penalty=0.2,
        logit_bias={"42": -100, "7": 1.5},
        min_p=0.05,
        typical_p=0.9,
        repeat_penalty=1.1,
        keep_alive="1m",
        user="anna",
    )
    assert request.options == Options(
        temperature=1.0,
        top_p=1.0,
        num_predict=5,
        seed=7,
        stop=("a", "b"),
        frequency_penalty=0.1,
        presence_penalty=0.2,
        logit_bias={42: -100.0, 7: 1.5},
        min_p=0.05,
        typical_p=0.9,
        repeat_penalty=1.1,
    )
    assert request.keep_alive == 60.0
    assert request.warnings == ()


def test_the_newer_limit_wins_and_says_so():
    request = chat(max_tokens=9, max_completion_tokens=5)
    assert request.options.num_predict == 5
    assert "max_tokens" in request.warnings[0]
    assert chat(max_completion_tokens=5).warnings == ()


def test_one_stop_word_needs_no_list():
    assert chat(stop="a").options.stop == ("a",)


@pytest.mark.parametrize(
    ("effort", "think"),
    [
        ("none", False),
        ("minimal", "low"),
        ("low", "low"),
        ("medium", "medium"),
        ("high", "high"),
        ("max", "max"),
        ("xhigh", "max"),
        ("ultra", "max"),
    ],
)
def test_effort_becomes_thinking_in_both_spellings(effort, think):
    assert chat(reasoning_effort=effort).think == think
    assert chat(reasoning={"effort": effort}).think == think
    assert chat().think is None


SCHEMA = {"type": "object", "properties": {"b": {}, "a": {}}}


@pytest.mark.parametrize(
    ("response_format", "schema"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}, SCHEMA),
        (
            {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": SCHEMA}},
            SCHEMA,
        ),
    ],
)
def test_response_formats(response_format, schema):
    request = chat(response_format=response_format)
    assert request.json_schema == schema
    assert request.warnings == ()


def test_tool_controls_arrive():
    request = chat(
        tools=[{"type": "function", "function": {"name": "f"}}],
        tool_choice={"type": "function", "function": {"name": "f"}},
        parallel_tool_calls=False,
    )
    assert (request.tool_choice, request.tool_name) == ("named", "f")
    assert not request.parallel_tool_calls


def test_a_strict_tool_is_told_when_its_schema_holds():
    tools = [{"type": "function", "function": {"name": "f", "strict": True}}]
    assert "strict" in chat(tools=tools).warnings[0]


@pytest.mark.parametrize(
    ("choice", "lost"),
    [("auto", "the tools"), ("required", "the JSON schema"), (NAMED, "the JSON schema")],
    ids=["auto", "required", "named"],
)
def test_tools_and_a_schema_in_one_request_are_told_of(choice, lost):
    (warning,) = chat(tools=TOOLS, tool_choice=choice, response_format=OBJECT).warnings
    assert warning.startswith(lost)


def test_tools_that_are_not_to_be_called_go_with_a_schema():
    for more in ({"tool_choice": "none"}, {"tools": []}):
        assert chat(**({"tools": TOOLS, "response_format": OBJECT} | more)).warnings == ()


def test_messages_of_every_role_arrive_whole():
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"b":1,"a":2}'}}
    request = chat(
        messages=[
            {"role": "developer", "content": "d"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "u"},
                    {"type": "image_url", "image_url": {"url": URI, "detail": "low"}},
                    {"type": "image_url", "image_url": URI},
                ],
            },
            {"role": "assistant", "content": None, "reasoning": "t", "tool_calls": [call]},
            {"role": "tool", "content": [{"type": "text", "text": "r"}], "tool_call_id": "c1"},
        ]
    )
    assert request.messages == (
        Message("system", (Text("d"),)),
        Message("user", (Text("u"), Image(PIXEL), Image(PIXEL))),
        Message("assistant", (Thought("t"), ToolCall("c1", "f", {"b": 1, "a": 2}))),
        Message("tool", (ToolResult("r", call_id="c1"),)),
    )
    assert list(request.messages[2].parts[1].arguments) == ["b", "a"]
    assert request.warnings == ()


@pytest.mark.parametrize(
    "message",
    [
        {"role": "robot", "content": "x"},
        {"role": "user", "content": [{"type": "video"}]},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": "https://x/y.png"}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": "data:text/html;base64,"}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {}}]},
        {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]},
        {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[]"}}]},
        {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]},
        {"role": "tool", "content": [{"type": "image_url", "image_url": URI}]},
    ],
)
def test_a_message_that_cannot_be_is_refused_by_its_place(message):
    with pytest.raises(BadRequest) as caught:
        chat(messages=[message])
    assert caught.value.param.startswith("messages[0]")


def test_fields_without_effect_are_warned_about_but_a_user_label_is_not():
    warnings = chat(metadata={"a": "b"}, store=True, user="anna", service_tier="x").warnings
    assert len(warnings) == 3
    assert all(any(word in w for w in warnings) for word in ("metadata", "store", "service_tier"))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": 2}, "n"),
        ({"max_tokens": -2}, "max_tokens"),
        ({"seed": 2**70}, "seed"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"logit_bias": {"²": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 101}}, "logit_bias"),
        ({"reasoning_effort": "extreme"}, "reasoning_effort"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function.name"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
        ({"temperature": "hot"}, "temperature"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(body, param):
    with pytest.raises(BadRequest) as caught:
        chat(**body)
    assert caught.value.param == param


def test_completions_read_the_prompt_as_it_is():
    request = asked("completions", prompt="p", suffix="s", echo=True, logprobs=2)
    assert request == Generate(
        model="m", prompt="p", suffix="s", echo=True, logprobs=2, raw=True, options=DEFAULTS
    )
    assert asked("completions", prompt=["p"]).prompt == "p"
    assert not asked("completions", prompt="p", raw=False).raw


@pytest.mark.parametrize("body", [{"best_of": 2}, {"prompt": [1, 2]}, {"prompt": ["a", "b"]}])
def test_what_completions_cannot_do_is_refused(body):
    with pytest.raises(UnsupportedFeature):
        asked("completions", **({"prompt": "p"} | body))


def test_embeddings_arrive():
    request = asked("embeddings", input=["a", "b"], dimensions=4, input_type="passage")
    assert request == Embed(model="m", texts=("a", "b"), dimensions=4, role="passage")


@pytest.mark.parametrize(
    "body",
    [
        {"input": []},
        {"input": [[1, 2]]},
        {"input": {"a": 1}},
        {"input": "x", "encoding_format": "hex"},
        {"input": "x", "dimensions": 0},
    ],
)
def test_embeddings_that_cannot_be_are_refused(body):
    with pytest.raises(BadRequest):
        asked("embeddings", **body)
