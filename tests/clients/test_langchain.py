"""LangChain's classes for Ollama and OpenAI, unmodified, against a real server and real models."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_ollama import ChatOllama, OllamaEmbeddings, OllamaLLM
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from ollama import ResponseError
from pydantic import BaseModel, Field

from tests.conftest import CHAT_MODEL, EMBED_MODEL

TALK = [SystemMessage("You are brief."), HumanMessage("Say hello.")]


class Weather(BaseModel):
    """Look up the weather."""

    city: str = Field(max_length=20)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tracing is off, whatever the environment says."""
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    monkeypatch.setenv("LANGCHAIN_TRACING_V2", "false")


@pytest.fixture(params=["ollama", "openai"])
def chat(request: pytest.FixtureRequest, server) -> Callable[..., BaseChatModel]:
    def ollama(tokens: int = 16, **more: Any) -> BaseChatModel:
        return ChatOllama(
            model=CHAT_MODEL, base_url=server.url, temperature=0, num_predict=tokens, **more
        )

    def openai(tokens: int = 16, **more: Any) -> BaseChatModel:
        return ChatOpenAI(
            model=CHAT_MODEL,
            base_url=f"{server.url}/v1",
            api_key="none",
            temperature=0,
            max_completion_tokens=tokens,
            max_retries=0,
            **more,
        )

    return ollama if request.param == "ollama" else openai


@pytest.fixture(params=["ollama", "openai"])
def embeddings(request: pytest.FixtureRequest, server) -> Embeddings:
    if request.param == "ollama":
        return OllamaEmbeddings(model=EMBED_MODEL, base_url=server.url)
    # It would fetch the vocabulary of a model of its maker to count tokens.
    return OpenAIEmbeddings(
        model=EMBED_MODEL,
        base_url=f"{server.url}/v1",
        api_key="none",
        check_embedding_ctx_length=False,
    )


def test_it_answers_with_usage_and_a_reason(chat):
    told = chat().invoke(TALK)
    assert isinstance(told, AIMessage) and told.content
    usage = told.usage_metadata
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    reason = told.response_metadata.get("done_reason") or told.response_metadata["finish_reason"]
    assert reason in ("stop", "length")


def test_the_stream_is_the_same_words(chat):
    pieces = list(chat().stream(TALK))
    assert len(pieces) > 2
    assert "".join(piece.text for piece in pieces) == chat().invoke(TALK).text


async def test_it_answers_several_at_once(chat):
    told = await chat(8).abatch([TALK] * 4)
    assert len({one.text for one in told}) == 1


def test_it_keeps_to_a_schema(chat):
    reader = chat(60).with_structured_output(Weather, method="json_schema")
    told = reader.invoke("What is the weather in Rome?")
    assert isinstance(told, Weather)


@pytest.mark.parametrize("chat", ["openai"], indirect=True)
def test_it_calls_a_tool_that_is_asked_for(chat):
    (call,) = chat(60).bind_tools([Weather], tool_choice="Weather").invoke("Rome?").tool_calls
    assert call["name"] == "Weather" and Weather(**call["args"])


@pytest.mark.parametrize("chat", ["ollama"], indirect=True)
def test_a_model_without_tools_says_so(chat):
    with pytest.raises(ResponseError, match="does not support tools"):
        chat().bind_tools([Weather]).invoke("Rome?")


def test_it_is_told_what_a_tool_gave(chat):
    call = {"name": "Weather", "args": {"city": "Rome"}, "id": "call_1"}
    talk = [
        HumanMessage("Rome?"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("It is sunny.", tool_call_id="call_1", name="Weather"),
    ]
    short, long = (chat(4).invoke(part).usage_metadata for part in (talk[:1], talk))
    assert long["input_tokens"] > short["input_tokens"] + 4


def test_ollamas_plain_completion(server):
    model = OllamaLLM(model=CHAT_MODEL, base_url=server.url, temperature=0, num_predict=8)
    assert model.invoke("Once upon a time")
    assert "".join(model.stream("Once upon a time")) == model.invoke("Once upon a time")


def test_likeness_of_texts(embeddings):
    texts = ["The cat sleeps on the sofa.", "Il gatto dorme sul divano.", "Taxes rise in May."]
    cat, gatto, taxes = embeddings.embed_documents(texts)
    assert math.isclose(math.hypot(*cat), 1, rel_tol=1e-3)
    assert _product(cat, gatto) > _product(cat, taxes)
    assert len(embeddings.embed_query("Where is the cat?")) == len(cat) == 384


def _product(one: list[float], other: list[float]) -> float:
    return sum(x * y for x, y in zip(one, other, strict=True))
