"""The bytes of Ollama's language: streams, whole answers, inventory, errors."""

from __future__ import annotations

import json
import math

import pytest

from dimora.core.errors import (
    BadRequest,
    DimoraError,
    Forbidden,
    NotFound,
    Overloaded,
    PromptTooLong,
    WorkerDied,
)
from dimora.core.types import Done, Message, Progress, Queued, Text, ToolCall, Usage
from dimora.dialects import ollama
from dimora.dialects.base import Incoming
from dimora.tasks.base import (
    EmbeddingHabits,
    Model,
    ModelDetails,
    ModelSummary,
    Running,
    Token,
    TopToken,
)
from dimora.tasks.detokenize import Detokenized
from dimora.tasks.embed import EmbedDone, Vectors
from dimora.tasks.generation import (
    CallPiece,
    GenerationDone,
    Rendered,
    TextPiece,
    ThoughtPiece,
)
from dimora.tasks.list_models import ModelsFound
from dimora.tasks.list_running import RunningFound
from dimora.tasks.options import LoadOptions, Options
from dimora.tasks.show_model import ModelShown
from dimora.tasks.tokenize import Tokens

AT = "2026-08-04T08:52:19.385406455Z"
USAGE = Usage(
    prompt_tokens=26,
    output_tokens=259,
    load_seconds=6.338219291,
    prompt_seconds=0.130079,
    output_seconds=4.23271,
    total_seconds=10.706818083,
)
METRICS = (
    '"total_duration":10706818083,"load_duration":6338219291,"prompt_eval_count":26,'
    '"prompt_eval_duration":130079000,"eval_count":259,"eval_duration":4232710000'
)
CALL = ToolCall(id="call_abcd1234", name="weather", arguments={"city": "Roma", "at": 3})


def answer_to(path: str, method: str = "POST", **body):
    decode = {r.path: r.decode for r in ollama.ROUTES}[path]
    return decode(Incoming(method=method, body=json.dumps(body).encode())).answer


def lines(answer, *events) -> str:
    return b"".join(answer.frame(e) for e in events).decode()


def whole(answer, *events) -> str:
    return answer.whole(events).decode()


def test_a_generate_stream_is_one_object_per_line():
    answer = answer_to("/api/generate", model="llama3.2", prompt="x")
    assert answer.media_type == "application/x-ndjson"
    done = GenerationDone(usage=USAGE, context=(1, 2, 3))
    assert lines(answer, TextPiece(text="The"), TextPiece(text=" sky"), done) == (
        f'{{"model":"llama3.2","created_at":"{AT}","response":"The","done":false}}\n'
        f'{{"model":"llama3.2","created_at":"{AT}","response":" sky","done":false}}\n'
        f'{{"model":"llama3.2","created_at":"{AT}","response":"","done":true,'
        f'"done_reason":"stop","context":[1,2,3],{METRICS}}}\n'
    )


def test_a_chat_stream_has_thoughts_then_text_then_calls_then_stop():
    answer = answer_to("/api/chat", model="m", messages=[{"role": "user", "content": "x"}])
    events = (
        ThoughtPiece(text="hm"),
        TextPiece(text="Let me see."),
        CallPiece(index=0, call=CALL),
        GenerationDone(reason="tool_calls"),
    )
    head = f'{{"model":"m","created_at":"{AT}","message":{{"role":"assistant",'
    assert lines(answer, *events) == (
        f'{head}"content":"","thinking":"hm"}},"done":false}}\n'
        f'{head}"content":"Let me see."}},"done":false}}\n'
        f'{head}"content":"","tool_calls":[{{"id":"call_abcd1234","function":{{"index":0,'
        '"name":"weather","arguments":{"city":"Roma","at":3}}}]},"done":false}\n'
        f'{head}"content":""}},"done":true,"done_reason":"stop"}}\n'
    )


def test_a_whole_chat_joins_what_the_stream_says():
    answer = answer_to(
        "/api/chat", model="m", messages=[{"role": "user", "content": "x"}], stream=False
    )
    assert answer.media_type == "application/json; charset=utf-8"
    events = (
        ThoughtPiece(text="h"),
        ThoughtPiece(text="m"),
        TextPiece(text="a"),
        TextPiece(text="b"),
        CallPiece(index=0, call=CALL),
        GenerationDone(reason="length", usage=USAGE),
    )
    assert whole(answer, *events) == (
        f'{{"model":"m","created_at":"{AT}","message":{{"role":"assistant","content":"ab",'
        '"thinking":"hm","tool_calls":[{"id":"call_abcd1234","function":{"index":0,'
        '"name":"weather","arguments":{"city":"Roma","at":3}}}]},"done":true,'
        f'"done_reason":"length",{METRICS}}}'
    )


def test_logprobs_carry_bytes_and_alternatives():
    answer = answer_to("/api/generate", model="m", prompt="x", logprobs=True, top_logprobs=1)
    token = Token(5, "è", -0.5, (TopToken(5, "è", -0.5), TopToken(6, "", -1.5)))
    assert lines(answer, TextPiece(text="è", tokens=(token,))) == (
        f'{{"model":"m","created_at":"{AT}","response":"è","done":false,"logprobs":['
        '{"token":"è","logprob":-0.5,"bytes":[195,168],"top_logprobs":['
        '{"token":"è","logprob":-0.5,"bytes":[195,168]},{"token":"","logprob":-1.5}]}]}\n'
    )


def test_a_place_in_the_queue_is_an_empty_chunk_with_the_place():
    answer = answer_to("/api/generate", model="m", prompt="x")
    assert lines(answer, Queued(place=3)) == (
        f'{{"model":"m","created_at":"{AT}","response":"","done":false,"queue":{{"place":3}}}}\n'
    )


def test_a_cut_prompt_and_warnings_are_told_in_the_last_object():
    answer = answer_to("/api/generate", model="m", prompt="x", stream=False)
    done = GenerationDone(
        usage=Usage(prompt_tokens=10, prompt_tokens_original=50), warnings=("mind",)
    )
    assert whole(answer, TextPiece(text="a"), done) == (
        f'{{"model":"m","created_at":"{AT}","response":"a","done":true,"done_reason":"stop",'
        '"prompt_eval_count":10,"truncated":true,"prompt_tokens_original":50,'
        '"warnings":["mind"]}'
    )


@pytest.mark.parametrize(
    ("path", "body", "reason", "middle"),
    [
        ("/api/generate", {"prompt": ""}, "load", '"response":""'),
        ("/api/generate", {"keep_alive": 0}, "unload", '"response":""'),
        ("/api/chat", {"messages": []}, "load", '"message":{"role":"assistant","content":""}'),
        ("/api/chat", {"keep_alive": 0}, "unload", '"message":{"role":"assistant","content":""}'),
    ],
)
def test_load_and_unload_answer_one_object_even_when_streaming(path, body, reason, middle):
    answer = answer_to(path, model="m", **body)
    assert not answer.streaming
    assert answer.media_type == "application/json; charset=utf-8"
    done = GenerationDone(reason=reason, usage=Usage(load_seconds=2.0))
    assert whole(answer, done) == (
        f'{{"model":"m","created_at":"{AT}",{middle},"done":true,"done_reason":"{reason}"}}'
    )


def test_a_rendered_prompt_is_one_object():
    answer = answer_to("/api/generate", model="m", prompt="x", _debug_render_only=True)
    assert not answer.streaming
    assert whole(answer, Rendered(prompt="<|x|>"), GenerationDone()) == (
        f'{{"model":"m","created_at":"{AT}","response":"","done":true,"done_reason":"stop",'
        '"_debug_info":{"rendered_template":"<|x|>"}}'
    )


def test_embeddings_in_the_new_form_and_the_old():
    done = EmbedDone(
        usage=Usage(prompt_tokens=4, load_seconds=0.5, total_seconds=1.0), truncated_texts=(1,)
    )
    vectors = Vectors(vectors=((0.5, -1.0), (0.25, 2.0)))
    assert whole(answer_to("/api/embed", model="m", input=["a", "b"]), vectors, done) == (
        '{"model":"m","embeddings":[[0.5,-1.0],[0.25,2.0]],"total_duration":1000000000,'
        '"load_duration":500000000,"prompt_eval_count":4,"truncated":true,'
        '"truncated_inputs":[1]}'
    )
    old = answer_to("/api/embeddings", model="m", prompt="a")
    assert whole(old, Vectors(vectors=((0.5, -1.0),)), EmbedDone()) == '{"embedding":[0.5,-1.0]}'
    assert whole(old, Vectors(vectors=()), EmbedDone()) == '{"embedding":[]}'


def test_pull_tells_its_progress_and_says_success_once():
    answer = answer_to("/api/pull", model="m")
    digest = "sha256:6a07" + "0" * 60
    events = (
        Progress(status="pulling manifest"),
        Progress(status="pulling 6a0700000000", digest=digest, total_bytes=100),
        Progress(status="pulling 6a0700000000", digest=digest, total_bytes=100, completed_bytes=24),
        Progress(status="success"),
        Done(),
    )
    assert lines(answer, *events) == (
        '{"status":"pulling manifest"}\n'
        f'{{"status":"pulling 6a0700000000","digest":"{digest}","total":100}}\n'
        f'{{"status":"pulling 6a0700000000","digest":"{digest}","total":100,"completed":24}}\n'
        '{"status":"success"}\n'
    )
    whole_answer = answer_to("/api/pull", model="m", stream=False)
    assert whole(whole_answer, *events) == '{"status":"success"}'


def test_tokens_and_back():
    there = answer_to("/api/tokenize", model="m", text="x")
    assert whole(there, Tokens(tokens=(1, 2)), Done()) == '{"model":"m","tokens":[1,2]}'
    back = answer_to("/api/detokenize", model="m", tokens=[1, 2])
    assert whole(back, Detokenized(text="ciao"), Done()) == '{"model":"m","text":"ciao"}'


SUMMARY = ModelSummary(
    name="tiny:latest",
    digest="ab" * 32,
    size_bytes=123,
    modified_at=1_700_000_000.5,
    details=ModelDetails(
        family="llama",
        families=("llama",),
        parameter_size="134.52M",
        quantization_level="Q4_1",
        context_length=2048,
        embedding_length=576,
    ),
    capabilities=("completion",),
)
DETAILS = (
    '"details":{"parent_model":"","format":"gguf","family":"llama","families":["llama"],'
    '"parameter_size":"134.52M","quantization_level":"Q4_1","context_length":2048,'
    '"embedding_length":576}'
)


def test_tags_lists_models():
    answer = answer_to("/api/tags", "GET")
    assert whole(answer, ModelsFound(models=(SUMMARY,)), Done()) == (
        '{"models":[{"name":"tiny:latest","model":"tiny:latest",'
        '"modified_at":"2023-11-14T22:13:20.500000000Z","size":123,'
        f'"digest":"{"ab" * 32}",{DETAILS},"capabilities":["completion"]}}]}}'
    )
    assert whole(answer, ModelsFound(models=()), Done()) == '{"models":[]}'


def test_ps_tells_what_runs_with_what_and_why():
    running = Running(
        summary=SUMMARY,
        engine="llama_cpp",
        engine_version="b1",
        engine_reason="the rule says so",
        options=LoadOptions(num_ctx=4096, parallel=4),
        expires_at=math.inf,
        memory_bytes=1000,
        gpu_memory_bytes=24,
        active=1,
        queued=2,
    )
    answer = answer_to("/api/ps", "GET")
    assert whole(answer, RunningFound(running=(running,)), Done()) == (
        '{"models":[{"name":"tiny:latest","model":"tiny:latest","size":1024,'
        f'"digest":"{"ab" * 32}",{DETAILS},"expires_at":"2300-01-01T00:00:00.000000000Z",'
        '"size_vram":24,"context_length":4096,"engine":"llama_cpp","engine_version":"b1",'
        '"engine_reason":"the rule says so","parallel":4,"active":1,"queued":2}]}'
    )


MODEL = Model(
    summary=SUMMARY,
    weights_digest="sha256:0",
    architecture="llama",
    options=Options(temperature=0.5, stop=("<a>", "<b>"), top_k=3),
    system="Be kind.",
    template="{{ .Prompt }}",
    messages=(Message("user", (Text("hi"),)),),
    licenses=("MIT", "more"),
    metadata={
        "general.architecture": "llama",
        "general.name": "secret",
        "general.basename": "Tiny",
        "llama.context_length": 2048,
        "tokenizer.chat_template": "x",
        "short": [1, 2],
        "long": [1, 2, 3, 4, 5, 6],
        "cut": [],
    },
    tensors=(("output.weight", "F32", (4, 2)),),
)


def shown(model: Model = MODEL, **body):
    answer = answer_to("/api/show", model="tiny", **body)
    event = ModelShown(shown=model, modelfile="FROM tiny:latest\n", refused_by={})
    return json.loads(answer.whole((event, Done())))


def test_show_tells_all_of_one_model():
    assert shown() == {
        "license": "MIT\nmore",
        "modelfile": "FROM tiny:latest\n",
        "parameters": (
            'stop                           "<a>"\n'
            'stop                           "<b>"\n'
            "temperature                    0.5\n"
            "top_k                          3"
        ),
        "template": "{{ .Prompt }}",
        "system": "Be kind.",
        "details": json.loads("{" + DETAILS + "}")["details"],
        "messages": [{"role": "user", "content": "hi"}],
        "model_info": {
            "general.architecture": "llama",
            "general.basename": "Tiny",
            "llama.context_length": 2048,
            "short": [1, 2],
            "long": None,
            "cut": None,
        },
        "capabilities": ["completion"],
        "modified_at": "2023-11-14T22:13:20.500000000Z",
    }


def test_show_verbose_adds_tensors_and_long_arrays():
    told = shown(verbose=True)
    assert told["tensors"] == [{"name": "output.weight", "type": "F32", "shape": [4, 2]}]
    assert told["model_info"]["long"] == [1, 2, 3, 4, 5, 6]
    assert "general.name" not in told["model_info"]


def test_show_tells_what_clients_need_even_where_the_file_is_silent():
    bare = Model(summary=SUMMARY, weights_digest="", architecture="llama")
    assert shown(bare)["model_info"] == {
        "general.architecture": "llama",
        "general.basename": "tiny",
        "llama.context_length": 2048,
    }


def test_show_tells_how_an_embedding_model_wants_its_input():
    habits = EmbeddingHabits(query_prefix="query: ", unicode_form="NFKC")
    model = Model(summary=SUMMARY, weights_digest="", embedding=habits)
    assert shown(model)["embedding"] == {
        "query_prefix": "query: ",
        "passage_prefix": "",
        "unicode_form": "NFKC",
    }


def test_show_overlays_what_the_request_sets():
    told = shown(system="Other.", options={"top_k": 9})
    assert told["system"] == "Other."
    assert "top_k                          9" in told["parameters"]


def test_greetings():
    routes = {r.path: r.decode for r in ollama.ROUTES}
    assert routes["/"](Incoming(method="GET")).body == b"Ollama is running"
    told = routes["/api/version"](Incoming(method="GET", version="0.33.0"))
    assert told.body == b'{"version":"0.33.0"}'


HELLO = {"messages": [{"role": "user", "content": "x"}]}


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        ("/api/generate", {"model": "No", "prompt": "x"}, "model 'No' not found"),
        ("/api/chat", {"model": "No", **HELLO}, "model 'No' not found"),
        ("/api/generate", {"model": "No"}, "model 'No' not found"),
        ("/api/embed", {"model": "No"}, 'model "No" not found, try pulling it first'),
        ("/api/embeddings", {"model": "No"}, 'model "No" not found, try pulling it first'),
        ("/api/tokenize", {"model": "No"}, 'model "No" not found, try pulling it first'),
        ("/api/show", {"model": "No"}, "model 'No' not found"),
        ("/api/delete", {"model": "No"}, "model 'No' not found"),
        ("/api/copy", {"source": "No", "destination": "a"}, 'model "No" not found'),
        ("/api/pull", {"model": "No"}, "pull model manifest: file does not exist"),
    ],
)
def test_each_route_says_in_its_own_words_that_a_model_is_missing(path, body, text):
    answer = answer_to(path, **body)
    refusal = answer.refusal(NotFound("whatever the store says", hint="x"))
    assert json.loads(refusal) == {"error": text}


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (BadRequest("missing request body"), "missing request body"),
        (
            Overloaded("queue of 512 is full", retry_after_seconds=3),
            "server busy, please try again.  maximum pending requests exceeded",
        ),
        (
            WorkerDied("killed by signal 9"),
            "model runner has unexpectedly stopped, this may be due to resource limitations or an"
            " internal error: killed by signal 9",
        ),
        (Forbidden("you may not"), "you may not"),
        (PromptTooLong("too long", hint="shorten it"), "too long"),
        (DimoraError('say "no"'), 'say "no"'),
    ],
)
def test_the_error_object_holds_one_string(error, text):
    expected = {"error": text}
    assert json.loads(ollama.error(error)) == expected
    answer = answer_to("/api/chat", model="m", **HELLO)
    assert answer.failure(error) == ollama.error(error) + b"\n"


@pytest.mark.parametrize(
    ("path", "body", "error", "status"),
    [
        ("/api/chat", b"", "missing request body", 400),
        ("/api/chat", b"{", "Input data was truncated", 400),
        ("/api/chat", b'{"model":"\xff"}', "the request body is not valid UTF-8", 400),
        ("/api/chat", b'{"model":5}', "Expected `str`, got `int` - at `$.model`", 400),
        ("/api/chat", b"[]", "Expected `object`, got `array`", 400),
        ("/api/chat", b"{}", "model is required", 400),
        ("/api/chat", b'{"model":"a//b"}', "model is required", 400),
        ("/api/generate", b"{}", "model '' not found", 404),
        ("/api/generate", b'{"model":"../x"}', "model '../x' not found", 404),
        ("/api/show", b"{}", "model is required", 400),
        ("/api/pull", b"{}", "model is required", 400),
        ("/api/pull", b'{"model":"a b"}', "invalid model name", 400),
        ("/api/copy", b'{"source":"a b","destination":"c"}', 'source "a b" is invalid', 400),
        ("/api/copy", b'{"source":"a"}', 'destination "" is invalid', 400),
        ("/api/delete", b'{"name":"/x"}', 'name "/x" is invalid', 400),
        ("/api/create", b'{"model":"m"}', "neither 'from' or 'files' was specified", 400),
        ("/api/create", b'{"model":"/"}', "invalid model name", 400),
        ("/api/embed", b'{"model":"m","input":[1]}', "invalid input type", 400),
        (
            "/api/generate",
            b'{"model":"m","prompt":"x","think":"deep"}',
            'invalid think value: "deep" (must be "high", "medium", "low", "max", true, or false)',
            400,
        ),
        (
            "/api/generate",
            b'{"model":"m","prompt":"x","format":"xml"}',
            r'invalid format: "\"xml\""; expected "json" or a valid JSON Schema object',
            400,
        ),
        (
            "/api/generate",
            b'{"model":"m","prompt":"x","raw":true,"system":"s"}',
            "raw mode does not support template, system, or context",
            400,
        ),
        (
            "/api/generate",
            b'{"model":"m","prompt":"x","top_logprobs":21}',
            "top_logprobs must be between 0 and 20",
            400,
        ),
        (
            "/api/generate",
            b'{"model":"m","prompt":"x","options":{"num_ctx":"large"}}',
            'option "num_ctx" must be of type integer',
            400,
        ),
        (
            "/api/generate",
            b'{"model":"m","prompt":"x","keep_alive":true}',
            "Unsupported type: 'boolean'",
            400,
        ),
    ],
)
def test_the_error_table(path, body, error, status):
    decode = {r.path: r.decode for r in ollama.ROUTES}[path]
    with pytest.raises(DimoraError) as caught:
        decode(Incoming(method="POST", body=body))
    assert caught.value.status == status
    assert json.loads(ollama.error(caught.value)) == {"error": error}
