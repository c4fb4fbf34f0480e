"""The `ollama` package for Python, unmodified, against a real server and a real model."""

from __future__ import annotations

import json
import math

import ollama
import pytest

MODEL = "smollm2:135m"
EMBEDDER = "multilingual-e5-small"
GREEDY = {"temperature": 0, "num_predict": 16}
HELLO = [{"role": "user", "content": "Say hello."}]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture(scope="module")
def client(server) -> ollama.Client:
    return ollama.Client(server.url)


def test_chat_answers_with_its_figures(client):
    answer = client.chat(MODEL, HELLO, options=GREEDY)
    assert answer.message.role == "assistant"
    assert answer.message.content
    assert answer.done
    assert answer.done_reason in ("stop", "length")
    assert answer.prompt_eval_count > 10
    assert 0 < answer.eval_count <= 16
    assert answer.total_duration > 0


def test_the_stream_and_the_whole_are_the_same_words(client):
    whole = client.chat(MODEL, HELLO, options=GREEDY).message.content
    parts = list(client.chat(MODEL, HELLO, options=GREEDY, stream=True))
    assert "".join(p.message.content for p in parts) == whole
    assert [p.done for p in parts].count(True) == 1
    assert parts[-1].done
    assert len(parts) > 3


def test_generate_continues_and_its_context_carries_on(client):
    first = client.generate(MODEL, "My name is Ada. Say hello to me.", options=GREEDY)
    assert first.response
    assert len(first.context) > first.eval_count
    second = client.generate(MODEL, "And goodbye.", context=first.context, options=GREEDY)
    assert second.prompt_eval_count > len(first.context)


def test_raw_mode_reads_the_prompt_as_it_is(client):
    raw = client.generate(MODEL, "The capital of France is", raw=True, options=GREEDY)
    assert raw.prompt_eval_count < 10
    assert raw.context is None


def test_a_system_text_and_a_stop_string_take_effect(client):
    answer = client.generate(
        MODEL, "Count to ten: 1, 2, 3,", raw=True, options=GREEDY | {"stop": ["6"]}
    )
    assert "6" not in answer.response


def test_the_same_seed_gives_the_same_text_and_another_seed_another(client):
    def say(seed: int) -> str:
        options = {"seed": seed, "temperature": 1.5, "num_predict": 24}
        return client.generate(MODEL, "Once upon a time", raw=True, options=options).response

    assert say(7) == say(7)
    assert len({say(seed) for seed in range(4)}) > 1


def test_embed_gives_unit_vectors_in_order(client):
    answer = client.embed(EMBEDDER, ["il gatto dorme", "the cat sleeps", "das Haushaltsgesetz"])
    vectors = answer.embeddings
    assert [len(v) for v in vectors] == [384] * 3
    assert all(abs(math.hypot(*v) - 1) < 1e-3 for v in vectors)
    cosine = [sum(a * b for a, b in zip(vectors[0], v, strict=True)) for v in vectors[1:]]
    assert cosine[0] > cosine[1], "a translation is nearer than another subject"
    assert answer.prompt_eval_count > 0


def test_dimensions_cut_and_normalise_again(client):
    (vector,) = client.embed(EMBEDDER, "ciao", dimensions=64).embeddings
    assert len(vector) == 64
    assert abs(math.hypot(*vector) - 1) < 1e-3


def test_no_input_gives_no_vectors(client):
    assert client.embed(EMBEDDER, []).embeddings == []


def test_a_text_that_is_too_long_is_cut_or_refused_as_asked(client):
    long = "parola " * 2000
    assert len(client.embed(EMBEDDER, long).embeddings) == 1
    with pytest.raises(ollama.ResponseError, match="exceeds the context length"):
        client.embed(EMBEDDER, long, truncate=False)


def test_the_old_embeddings_call_works(client):
    assert len(client.embeddings(EMBEDDER, "ciao").embedding) == 384


@pytest.mark.parametrize("stream", [False, True])
def test_structured_output_keeps_to_the_schema(client, stream):
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 12},
            "age": {"type": "integer"},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3},
        },
        "required": ["name", "age", "tags"],
        "additionalProperties": False,
    }
    asked = [{"role": "user", "content": "Make up a person as JSON."}]
    options = {"temperature": 0, "num_predict": 200}
    answer = client.chat(MODEL, asked, format=schema, options=options, stream=stream)
    text = "".join(p.message.content for p in answer) if stream else answer.message.content
    value = json.loads(text)
    assert set(value) == {"name", "age", "tags"}
    assert isinstance(value["age"], int)
    assert set(value["tags"]) <= {"a", "b"}


def test_json_mode_gives_an_object(client):
    # A small model may write on and on: an answer that was cut at its limit is no JSON.
    answers = (
        client.generate(
            MODEL,
            "Give your name as JSON.",
            format="json",
            options={"temperature": 0.8, "seed": seed, "num_predict": 150},
        )
        for seed in range(12)
    )
    whole = next(answer for answer in answers if answer.done_reason == "stop")
    assert isinstance(json.loads(whole.response), dict)


def test_an_unsupported_schema_is_refused_by_name(client):
    with pytest.raises(ollama.ResponseError) as caught:
        client.chat(MODEL, HELLO, format={"type": "object", "not": {"required": ["x"]}})
    assert caught.value.status_code == 400
    assert "not" in caught.value.error


def test_a_model_without_tools_says_so(client):
    with pytest.raises(ollama.ResponseError) as caught:
        client.chat(MODEL, HELLO, tools=[TOOL])
    assert caught.value.status_code == 400
    assert "does not support tools" in caught.value.error


def test_thinking_on_a_model_that_does_not_think_says_so(client):
    with pytest.raises(ollama.ResponseError, match="does not support thinking"):
        client.chat(MODEL, HELLO, think=True)


def test_logprobs_come_or_are_refused_but_are_never_dropped(client):
    """Which of the two depends on the engine; `llama_cpp` has them all."""
    options = GREEDY | {"engine": "llama_cpp"}
    answer = client.chat(MODEL, HELLO, options=options, logprobs=True, top_logprobs=3)
    assert answer.logprobs
    assert all(one.logprob <= 0 for one in answer.logprobs)
    assert all(len(one.top_logprobs) == 3 for one in answer.logprobs)


def test_the_inventory(client):
    listed = {m.model: m for m in client.list().models}
    assert {MODEL, f"{EMBEDDER}:latest"} <= set(listed)
    assert listed[MODEL].details.family == "llama"
    assert listed[MODEL].details.quantization_level == "Q4_1"
    assert len(listed[MODEL].digest) == 64
    shown = client.show(MODEL)
    assert shown.modelinfo["llama.context_length"] == 8192
    assert "completion" in shown.capabilities
    assert "embedding" in client.show(EMBEDDER).capabilities


def test_ps_tells_what_is_loaded_with_what_and_why(client):
    client.generate(MODEL, "x", options={"num_predict": 1})
    (running,) = [m for m in client.ps().models if m.model == MODEL]
    assert running.size > 50_000_000
    raw = client._request_raw("GET", "/api/ps").json()["models"]
    assert all(m["engine"] and m["engine_reason"] for m in raw)


def test_load_and_unload(client):
    loaded = client.generate(MODEL)
    assert (loaded.done_reason, loaded.response) == ("load", "")
    unloaded = client.generate(MODEL, keep_alive=0)
    assert unloaded.done_reason == "unload"


def test_copy_and_delete(client):
    client.copy(MODEL, "copied/by-python:v1")
    assert "copied/by-python:v1" in {m.model for m in client.list().models}
    client.delete("copied/by-python:v1")
    with pytest.raises(ollama.ResponseError) as caught:
        client.show("copied/by-python:v1")
    assert caught.value.status_code == 404


def test_pull_of_a_model_that_is_there_succeeds_and_of_an_unknown_one_does_not(client):
    assert client.pull(MODEL).status == "success"
    with pytest.raises(ollama.ResponseError):
        client.pull("no-such-model-anywhere")


def test_errors_have_their_status(client):
    for call, status in (
        (lambda: client.chat("nobody", HELLO), 404),
        (lambda: client.generate("nobody", "x"), 404),
        (lambda: client.embed("nobody", "x"), 404),
        (lambda: client.show("nobody"), 404),
        (lambda: client.delete("nobody"), 404),
        (lambda: client.embed(MODEL, "x"), 400),
        (lambda: client.chat(EMBEDDER, HELLO), 400),
        (lambda: client.generate(MODEL, "x", options={"num_ctx": "large"}), 400),
        (lambda: client.generate(MODEL, "x", keep_alive="300"), 400),
    ):
        with pytest.raises(ollama.ResponseError) as caught:
            call()
        assert caught.value.status_code == status, caught.value.error


def test_truncation_is_reported_and_can_be_refused(client):
    turns = [{"role": "user", "content": f"Fact {i}: " + "word " * 60} for i in range(40)]
    options = {"num_ctx": 512, "num_predict": 4, "temperature": 0}
    raw = client._request_raw(
        "POST", "/api/chat",
        json={"model": MODEL, "messages": turns, "options": options, "stream": False},
    ).json()  # fmt: skip
    assert raw["truncated"] is True
    assert raw["prompt_tokens_original"] > 2000
    assert raw["prompt_eval_count"] < 512
    with pytest.raises(ollama.ResponseError, match="longer than the context length"):
        client._request_raw(
            "POST", "/api/chat",
            json={"model": MODEL, "messages": turns, "options": options, "truncate": False},
        )  # fmt: skip


def test_unknown_options_and_fields_are_warned_about(client):
    raw = client._request_raw(
        "POST", "/api/generate",
        json={"model": MODEL, "prompt": "x", "stream": False, "colour": 1,
              "options": {"num_predict": 1, "mirostat": 2}},
    ).json()  # fmt: skip
    text = " ".join(raw["warnings"])
    assert "colour" in text
    assert "mirostat" in text


async def test_the_asynchronous_client_streams_several_answers_at_once(server):
    import asyncio

    client = ollama.AsyncClient(server.url)

    async def ask(word: str) -> str:
        text = ""
        async for part in await client.chat(
            MODEL, [{"role": "user", "content": word}], options=GREEDY, stream=True
        ):
            text += part.message.content
        return text

    answers = await asyncio.gather(*(ask(f"Say {w}.") for w in ("one", "two", "three", "four")))
    assert all(answers)
