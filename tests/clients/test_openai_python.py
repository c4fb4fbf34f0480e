"""The `openai` package for Python, unmodified, against a real server and a real model."""

from __future__ import annotations

import json

import openai
import pytest

MODEL = "smollm2:135m"
EMBEDDER = "multilingual-e5-small"
HELLO = [{"role": "user", "content": "Say hello."}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"Look up the {name}",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "maxLength": 20}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
    for name in ("weather", "mayor")
]


@pytest.fixture(scope="module")
def client(server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def ask(client, **more):
    wanted = {"model": MODEL, "messages": HELLO, "temperature": 0, "max_tokens": 16} | more
    return client.chat.completions.create(**wanted)


def test_chat_answers_with_usage(client):
    answer = ask(client)
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_the_stream_and_the_whole_are_the_same_words(client):
    whole = ask(client)
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert len({c.id for c in chunks}) == len({c.created for c in chunks}) == 1
    reasons = [c.choices[0].finish_reason for c in chunks if c.choices]
    assert reasons[-1] == whole.choices[0].finish_reason
    assert set(reasons[:-1]) == {None}


def test_the_newer_name_of_the_token_limit_works(client):
    answer = ask(client, max_tokens=openai.omit, max_completion_tokens=3)
    assert answer.usage.completion_tokens <= 3
    assert answer.choices[0].finish_reason == "length"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "mayor"}}]
)
def test_a_forced_tool_call_is_made(client, choice, stream):
    answer = ask(client, tools=TOOLS, tool_choice=choice, max_tokens=100, stream=stream)
    if stream:
        deltas = [c.choices[0].delta for c in answer if c.choices]
        calls = [call for d in deltas for call in d.tool_calls or []]
        name = "".join(c.function.name or "" for c in calls)
        arguments = "".join(c.function.arguments or "" for c in calls)
    else:
        assert answer.choices[0].finish_reason == "tool_calls"
        (call,) = answer.choices[0].message.tool_calls
        assert call.id.startswith("call_")
        name, arguments = call.function.name, call.function.arguments
    assert name in ("weather", "mayor")
    assert choice == "required" or name == "mayor"
    assert list(json.loads(arguments)) == ["city"]


def test_no_tool_is_called_when_none_is_wanted(client):
    answer = ask(client, tools=TOOLS, tool_choice="none")
    assert answer.choices[0].message.tool_calls is None
    assert answer.choices[0].message.content


def test_structured_output_keeps_to_the_schema(client):
    schema = {
        "type": "object",
        "properties": {"answer": {"enum": ["yes", "no"]}, "score": {"type": "integer"}},
        "required": ["answer", "score"],
        "additionalProperties": False,
    }
    answer = ask(
        client,
        max_tokens=60,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "a", "schema": schema, "strict": True},
        },
    )
    value = json.loads(answer.choices[0].message.content)
    assert set(value) == {"answer", "score"}
    assert value["answer"] in ("yes", "no")


def test_logprobs_with_alternatives(client):
    answer = ask(
        client, logprobs=True, top_logprobs=2, extra_body={"options": {"engine": "llama_cpp"}}
    )
    content = answer.choices[0].logprobs.content
    assert "".join(t.token for t in content).strip() == answer.choices[0].message.content.strip()
    assert all(t.logprob <= 0 and len(t.top_logprobs) == 2 for t in content)


def test_logit_bias_reaches_the_engine(client):
    free = ask(client, max_tokens=1, extra_body={"options": {"engine": "llama_cpp"}})
    word = free.choices[0].message.content
    tokens = client.post(
        "../api/tokenize",
        cast_to=object,
        body={"model": MODEL, "text": word, "add_special": False},
    )["tokens"]
    bias = {str(t): -100 for t in tokens}
    other = ask(
        client, max_tokens=1, logit_bias=bias, extra_body={"options": {"engine": "llama_cpp"}}
    )
    assert other.choices[0].message.content != word


def test_completions_continue_the_prompt(client):
    answer = client.completions.create(
        model=MODEL, prompt="The capital of France is", max_tokens=8, temperature=0, echo=True
    )
    assert answer.object == "text_completion"
    assert answer.choices[0].text.startswith("The capital of France is")
    assert answer.usage.prompt_tokens < 10
    chunks = list(
        client.completions.create(
            model=MODEL, prompt="The capital of France is", max_tokens=8, temperature=0, stream=True
        )
    )
    text = "".join(c.choices[0].text for c in chunks if c.choices)
    assert answer.choices[0].text == "The capital of France is" + text


def test_embeddings_in_both_encodings(client):
    plain = client.embeddings.create(model=EMBEDDER, input=["a", "b"], encoding_format="float")
    packed = client.embeddings.create(model=EMBEDDER, input=["a", "b"])
    assert [d.index for d in plain.data] == [0, 1]
    for one, other in zip(plain.data, packed.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-5)


def test_models_are_listed_and_retrieved(client):
    assert MODEL in {m.id for m in client.models.list()}
    assert client.models.retrieve(MODEL).owned_by == "library"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"model": "nobody"}, openai.NotFoundError),
        ({"temperature": "hot"}, openai.BadRequestError),
        ({"messages": []}, openai.BadRequestError),
        ({"n": 2}, openai.BadRequestError),
        ({"tool_choice": "required"}, openai.BadRequestError),
        ({"model": EMBEDDER}, openai.BadRequestError),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "http://x/y.png"}}],
                    }
                ]
            },
            openai.BadRequestError,
        ),
    ],
)
def test_errors_arrive_as_the_clients_own_exceptions(client, changes, error):
    with pytest.raises(error) as caught:
        ask(client, **changes)
    assert caught.value.body["message"]
    assert caught.value.body["type"]


def test_fields_that_do_nothing_are_warned_about(client):
    answer = ask(client, metadata={"a": "b"}, store=True)
    assert any("metadata" in w for w in answer.model_extra["warnings"])


def test_the_default_temperature_is_that_of_this_api(client):
    """1.0 here, 0.8 there: with a fixed seed the texts of both APIs differ only by that."""
    same = {"seed": 3, "max_tokens": 20}
    explicit = ask(client, temperature=1.0, top_p=1.0, **same).choices[0].message.content
    implicit = ask(client, temperature=openai.omit, **same).choices[0].message.content
    assert explicit == implicit
