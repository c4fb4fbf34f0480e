"""The bytes of OpenAI's language: server-sent events, whole answers, errors."""

from __future__ import annotations

import json

import pytest

from dimora.core.errors import (
    BadRequest,
    DimoraError,
    Forbidden,
    NotAuthenticated,
    NotFound,
    Overloaded,
    TooManyRequests,
    WorkerDied,
)
from dimora.core.types import Done, Queued, ToolCall, Usage
from dimora.dialects import openai
from dimora.dialects.base import Incoming
from dimora.tasks.base import Model, ModelDetails, ModelSummary, Token, TopToken
from dimora.tasks.embed import EmbedDone, Vectors
from dimora.tasks.generation import CallPiece, GenerationDone, TextPiece, ThoughtPiece
from dimora.tasks.list_models import ModelsFound
from dimora.tasks.show_model import ModelShown

HELLO = [{"role": "user", "content": "x"}]
HEAD = (
    '"id":"chatcmpl-0123456789abcdef01234567","object":"chat.completion.chunk",'
    '"created":1785833539,"model":"m","system_fingerprint":"fp_dimora"'
)
CALL = ToolCall(id="call_abcd1234", name="weather", arguments={"city": "Roma"})
USAGE = Usage(prompt_tokens=7, cached_tokens=5, output_tokens=3)
USED = (
    '"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10,'
    '"prompt_tokens_details":{"cached_tokens":5}}'
)


def decode(path: str, body: bytes, **path_values):
    find = {r.path: r.decode for r in openai.ROUTES}
    return find[path](Incoming(method="POST", body=body, path=path_values))


def chat(**body):
    body = {"model": "m", "messages": HELLO} | body
    return decode("/v1/chat/completions", json.dumps(body).encode()).answer


def completion(**body):
    body = {"model": "m", "prompt": "x"} | body
    return decode("/v1/completions", json.dumps(body).encode()).answer


def frames(answer, *events) -> str:
    return b"".join(answer.frame(e) for e in events).decode()


def test_a_chat_stream_begins_with_the_role_and_ends_with_done():
    answer = chat(stream=True)
    assert answer.media_type == "text/event-stream; charset=utf-8"
    assert frames(answer, TextPiece(text="Hi"), GenerationDone(usage=USAGE)) == (
        f'data: {{{HEAD},"choices":[{{"index":0,"delta":{{"role":"assistant","content":""}},'
        '"finish_reason":null}]}\n\n'
        f'data: {{{HEAD},"choices":[{{"index":0,"delta":{{"content":"Hi"}},'
        '"finish_reason":null}]}\n\n'
        f'data: {{{HEAD},"choices":[{{"index":0,"delta":{{}},"finish_reason":"stop"}}]}}\n\n'
        "data: [DONE]\n\n"
    )


def test_usage_comes_in_a_chunk_of_its_own_when_it_was_asked_for():
    answer = chat(stream=True, stream_options={"include_usage": True})
    told = frames(answer, TextPiece(text="Hi"), GenerationDone(usage=USAGE)).split("\n\n")
    assert [json.loads(t[6:])["usage"] for t in told[:3]] == [None, None, None]
    assert told[3] == f'data: {{{HEAD},"choices":[],{USED}}}'
    assert told[4] == "data: [DONE]"


def test_reasoning_and_tool_calls_are_deltas_of_their_own():
    answer = chat(stream=True)
    told = frames(
        answer,
        ThoughtPiece(text="hm"),
        CallPiece(index=0, call=CALL),
        GenerationDone(reason="tool_calls", warnings=("mind",)),
    ).split("\n\n")
    assert told[1] == (
        f'data: {{{HEAD},"choices":[{{"index":0,"delta":{{"reasoning":"hm"}},'
        '"finish_reason":null}]}'
    )
    assert told[2] == (
        f'data: {{{HEAD},"choices":[{{"index":0,"delta":{{"tool_calls":[{{"index":0,'
        '"id":"call_abcd1234","type":"function","function":{"name":"weather",'
        r'"arguments":"{\"city\":\"Roma\"}"}}]},"finish_reason":null}]}'
    )
    assert told[3] == (
        f'data: {{{HEAD},"choices":[{{"index":0,"delta":{{}},"finish_reason":"tool_calls"}}],'
        '"warnings":["mind"]}'
    )


def test_a_place_in_the_queue_is_a_comment():
    assert frames(chat(stream=True), Queued(place=3)) == ": queued place 3\n\n"


def test_an_error_in_the_middle_is_told_and_nothing_comes_after():
    answer = chat(stream=True)
    answer.frame(TextPiece(text="Hi"))
    assert answer.failure(WorkerDied("the worker ended")) == (
        b'data: {"error":{"message":"the worker ended","type":"api_error","param":null,'
        b'"code":"worker_died"}}\n\n'
    )


def test_a_whole_chat():
    answer = chat(logprobs=True, top_logprobs=1)
    assert answer.media_type == "application/json"
    token = Token(5, "Hi", -0.5, (TopToken(5, "Hi", -0.5),))
    done = GenerationDone(reason="length", usage=USAGE)
    told = answer.whole((ThoughtPiece(text="hm"), TextPiece(text="Hi", tokens=(token,)), done))
    entry = '"token":"Hi","logprob":-0.5,"bytes":[72,105]'
    assert told.decode() == (
        "{" + HEAD.replace(".chunk", "") + ',"choices":[{"index":0,"message":'
        '{"role":"assistant","content":"Hi","reasoning":"hm"},"finish_reason":"length",'
        f'"logprobs":{{"content":[{{{entry},"top_logprobs":[{{{entry}}}]}}]}}}}],{USED}}}'
    )


def test_a_whole_answer_of_calls_alone_has_no_content():
    told = chat().whole((CallPiece(index=0, call=CALL), GenerationDone(reason="tool_calls")))
    choice = json.loads(told)["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "index": 0,
                "id": "call_abcd1234",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city":"Roma"}'},
            }
        ],
    }


def test_a_cut_prompt_is_told_in_usage():
    done = GenerationDone(usage=Usage(prompt_tokens=10, prompt_tokens_original=50))
    usage = json.loads(chat().whole((TextPiece(text="a"), done)))["usage"]
    assert (usage["truncated"], usage["prompt_tokens_original"]) == (True, 50)


COMPLETION = HEAD.replace("chatcmpl", "cmpl").replace("chat.completion.chunk", "text_completion")


def test_a_completion_stream_and_its_whole():
    answer = completion(stream=True, stream_options={"include_usage": True})
    events = (TextPiece(text="Hi"), GenerationDone(usage=USAGE))
    assert frames(answer, *events) == (
        f'data: {{{COMPLETION},"choices":[{{"text":"Hi","index":0,"finish_reason":null}}],'
        '"usage":null}\n\n'
        f'data: {{{COMPLETION},"choices":[{{"text":"","index":0,"finish_reason":"stop"}}],'
        '"usage":null}\n\n'
        f'data: {{{COMPLETION},"choices":[],{USED}}}\n\n'
        "data: [DONE]\n\n"
    )
    assert completion().whole(events).decode() == (
        f'{{{COMPLETION},"choices":[{{"text":"Hi","index":0,"finish_reason":"stop"}}],{USED}}}'
    )


def test_logprobs_of_a_completion_are_columns_whose_offsets_run_on():
    tokens = (Token(1, "ab", -0.5, (TopToken(1, "ab", -0.5),)), Token(2, "c", -1.0))
    events = (TextPiece(text="pq"), TextPiece(text="abc", tokens=tokens), GenerationDone())
    columns = {
        "tokens": ["ab", "c"],
        "token_logprobs": [-0.5, -1.0],
        "top_logprobs": [{"ab": -0.5}, {}],
        "text_offset": [2, 4],
    }
    told = completion(logprobs=1, echo=True).whole(events)
    assert json.loads(told)["choices"][0]["logprobs"] == columns
    streamed = completion(logprobs=1, echo=True, stream=True)
    second = [streamed.frame(e) for e in events][1]
    assert json.loads(second[6:])["choices"][0]["logprobs"] == columns


def test_embeddings_as_numbers_and_as_base64():
    events = (Vectors(vectors=((0.5, -1.0),)), EmbedDone(usage=Usage(prompt_tokens=4)))

    def told(**body):
        body = {"model": "m", "input": "x"} | body
        return decode("/v1/embeddings", json.dumps(body).encode()).answer.whole(events).decode()

    tail = '"index":0}],"model":"m","usage":{"prompt_tokens":4,"total_tokens":4}}'
    head = '{"object":"list","data":[{"object":"embedding","embedding":'
    assert told() == f"{head}[0.5,-1.0],{tail}"
    assert told(encoding_format="base64") == f'{head}"AAAAPwAAgL8=",{tail}'


def test_models_are_a_list_even_when_there_are_none():
    summary = ModelSummary(
        name="anna/tiny:v1",
        digest="",
        size_bytes=1,
        modified_at=1_700_000_000.9,
        details=ModelDetails(),
    )
    answer = decode("/v1/models", b"").answer
    entry = '"object":"model","created":1700000000,"owned_by":"anna"}'
    assert answer.whole((ModelsFound(models=(summary,)), Done())).decode() == (
        f'{{"object":"list","data":[{{"id":"anna/tiny:v1",{entry}]}}'
    )
    assert answer.whole((ModelsFound(models=()), Done())) == b'{"object":"list","data":[]}'
    one = decode("/v1/models/{model:path}", b"", model="anna/tiny:v1").answer
    shown = ModelShown(shown=Model(summary=summary, weights_digest=""), modelfile="")
    assert one.whole((shown, Done())).decode() == f'{{"id":"anna/tiny:v1",{entry}'


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BadRequest("no"), "invalid_request_error"),
        (NotAuthenticated("no"), "authentication_error"),
        (Forbidden("no"), "permission_error"),
        (NotFound("no"), "not_found_error"),
        (TooManyRequests("no"), "rate_limit_error"),
        (Overloaded("no"), "overloaded_error"),
        (DimoraError("no"), "api_error"),
    ],
)
def test_errors_have_the_type_clients_map(error, kind):
    assert json.loads(openai.error(error)) == {
        "error": {"message": "no", "type": kind, "param": None, "code": error.code}
    }


def test_a_hint_and_the_name_of_a_field_are_told():
    told = json.loads(openai.error(BadRequest("bad", hint="mend it", param="n")))
    assert told["error"]["hint"] == "mend it"
    assert told["error"]["param"] == "n"


def test_a_missing_model_is_named():
    refusal = json.loads(chat(model="No").refusal(NotFound("whatever")))
    assert refusal["error"]["message"] == "model 'No' not found"
    assert refusal["error"]["type"] == "not_found_error"
    assert refusal["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("path", "body", "message", "param"),
    [
        ("chat/completions", b"", "missing request body", None),
        ("chat/completions", b'{"model":5}', "Expected `str`, got `int` - at `$.model`", "model"),
        ("chat/completions", b"{}", "model is required", "model"),
        (
            "chat/completions",
            b'{"model":"m","messages":[]}',
            "[] is too short - 'messages'",
            "messages",
        ),
        (
            "chat/completions",
            b'{"model":"m","messages":[{"role":"user","content":"x"}],"n":2}',
            "n must be 1: one answer per request",
            "n",
        ),
        (
            "chat/completions",
            b'{"model":"m","messages":[{"role":"user","content":[{"type":"image_url",'
            b'"image_url":"http://x/y.png"}]}]}',
            "image URLs are not currently supported, please use base64 encoded data instead",
            "messages[0].content[0].image_url",
        ),
        ("completions", b'{"model":"m"}', "prompt is required", "prompt"),
        (
            "completions",
            b'{"model":"m","prompt":["a","b"]}',
            "prompt must be one string: lists of prompts and token ids are not supported",
            "prompt",
        ),
        ("embeddings", b'{"model":"m","input":""}', "invalid input", "input"),
        (
            "embeddings",
            b'{"model":"m","input":[1,2]}',
            "input must be a string or a list of strings: token ids are not supported",
            "input",
        ),
    ],
)
def test_the_error_table(path, body, message, param):
    with pytest.raises(BadRequest) as caught:
        decode(f"/v1/{path}", body)
    told = json.loads(openai.error(caught.value))["error"]
    assert (told["message"], told["param"]) == (message, param)
    assert told["type"] == "invalid_request_error"
