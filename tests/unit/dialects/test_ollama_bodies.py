"""What Ollama's bodies become."""

from __future__ import annotations

import base64
import json

import pytest

from dimora.core.errors import BadRequest, UnsupportedFeature
from dimora.core.types import Image, Message, Text, Thought, Tool, ToolCall, ToolResult
from dimora.dialects import ollama
from dimora.dialects.base import Incoming
from dimora.dialects.ollama.words import is_name, tell_time
from dimora.tasks.chat import Chat
from dimora.tasks.create_model import CreateModel
from dimora.tasks.embed import Embed
from dimora.tasks.find_blob import FindBlob
from dimora.tasks.generate import Generate
from dimora.tasks.hold_model import HoldModel
from dimora.tasks.options import Options
from dimora.tasks.recipe import AdapterPart, Recipe
from dimora.tasks.store_blob import BlobStored, StoreBlob

PIXEL = b"\x89PNG"
ENCODED = base64.b64encode(PIXEL).decode()


def asked(path: str, **body):
    decode = {r.path: r.decode for r in ollama.ROUTES}[path]
    return decode(Incoming(method="POST", body=json.dumps({"model": "m"} | body).encode())).request


def test_every_field_of_generate_arrives():
    request = asked(
        "/api/generate",
        prompt="p",
        suffix="s",
        images=[ENCODED],
        system="y",
        template="t",
        context=[1, 2],
        format={"type": "array"},
        keep_alive="10m",
        options={"top_k": 3, "engine": "echo", "stop": "x"},
        think="high",
        truncate=False,
        shift=False,
        logprobs=True,
        top_logprobs=4,
        _debug_render_only=True,
    )
    assert request == Generate(
        model="m",
        prompt="p",
        suffix="s",
        images=(PIXEL,),
        system="y",
        template="t",
        context=(1, 2),
        json_schema={"type": "array"},
        keep_alive=600.0,
        options=Options(top_k=3, engine="echo", stop=("x",)),
        think="high",
        truncate=False,
        shift=False,
        logprobs=4,
        render_only=True,
        want_context=True,
    )


def test_the_defaults_of_generate_are_the_contracts():
    assert asked("/api/generate", prompt="p") == Generate(model="m", prompt="p", want_context=True)
    raw = asked("/api/generate", prompt="p", raw=True)
    assert (raw.raw, raw.want_context) == (True, False)


def test_an_empty_system_text_is_none():
    assert asked("/api/generate", prompt="p", system="", template="").system is None


def test_logprobs_alone_ask_for_no_alternatives_and_alternatives_alone_are_warned_about():
    assert asked("/api/generate", prompt="p", logprobs=True).logprobs == 0
    request = asked("/api/generate", prompt="p", top_logprobs=3)
    assert request.logprobs is None
    assert "top_logprobs" in request.warnings[0]


def test_messages_of_every_role_arrive_whole():
    call = {"id": "c1", "function": {"name": "f", "arguments": {"b": 1, "a": 2}}}
    request = asked(
        "/api/chat",
        messages=[
            {"role": "System", "content": "s"},
            {"role": "user", "content": "u", "images": [ENCODED]},
            {"role": "assistant", "content": "a", "thinking": "t", "tool_calls": [call]},
            {"role": "tool", "content": "r", "tool_name": "f", "tool_call_id": "c1"},
        ],
        tools=[
            {
                "type": "function",
                "function": {"name": "f", "description": "d", "parameters": {"z": 1, "a": 2}},
            }
        ],
        tool_choice="required",
    )
    assert isinstance(request, Chat)
    assert request.messages == (
        Message("system", (Text("s"),)),
        Message("user", (Image(PIXEL), Text("u"))),
        Message("assistant", (Thought("t"), Text("a"), ToolCall("c1", "f", {"b": 1, "a": 2}))),
        Message("tool", (ToolResult("r", call_id="c1", name="f"),)),
    )
    assert request.tools == (Tool("f", "d", {"z": 1, "a": 2}),)
    assert list(request.tools[0].parameters) == ["z", "a"]
    assert request.tool_choice == "required"
    assert request.warnings == ()


def test_fields_in_the_wrong_role_are_warned_about():
    messages = [{"role": "user", "content": "u", "thinking": "t"}]
    (warning,) = asked("/api/chat", messages=messages).warnings
    assert "messages[0].thinking" in warning


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"role": "robot", "content": "x"}, "messages[0].role"),
        ({"content": "x"}, "messages[0].role"),
        ({"role": "user", "images": ["not base64!"]}, "messages[0].images[0]"),
        ({"role": "assistant", "tool_calls": [{"function": {}}]}, "messages[0].tool_calls"),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
    ],
)
def test_a_message_that_cannot_be_is_refused_by_its_place(message, field):
    with pytest.raises(BadRequest) as caught:
        asked("/api/chat", messages=[message])
    assert caught.value.param == field


def test_an_empty_prompt_loads_and_warns_of_what_cannot_matter():
    request = asked("/api/generate", prompt="", suffix="s", keep_alive=-1, options={"num_ctx": 8})
    assert isinstance(request, HoldModel)
    assert request.keep_alive == float("inf")
    assert request.options == Options(num_ctx=8)
    assert "suffix" in request.warnings[0]


def test_no_messages_and_keep_alive_0_unload():
    request = asked("/api/chat", messages=[], keep_alive="0s")
    assert request == HoldModel(model="m", keep_alive=0.0)


@pytest.mark.parametrize(
    ("value", "texts"),
    [(None, ()), ("", ()), ([], ()), ("a", ("a",)), (["a", ""], ("a", ""))],
)
def test_embed_takes_one_text_or_several_or_none(value, texts):
    assert asked("/api/embed", input=value).texts == texts


def test_every_field_of_embed_arrives():
    request = asked(
        "/api/embed",
        input="a",
        truncate=False,
        dimensions=8,
        input_type="query",
        keep_alive=5,
        options={"num_ctx": 64},
    )
    assert request == Embed(
        model="m",
        texts=("a",),
        truncate=False,
        dimensions=8,
        role="query",
        keep_alive=5.0,
        options=Options(num_ctx=64),
    )
    with pytest.raises(BadRequest, match="input_type"):
        asked("/api/embed", input="a", input_type="question")
    with pytest.raises(BadRequest, match="dimensions"):
        asked("/api/embed", input="a", dimensions=-1)


def test_the_old_embeddings_are_not_normalised():
    assert asked("/api/embeddings", prompt="a") == Embed(model="m", texts=("a",), normalize=False)


def test_create_from_a_model_takes_all_that_needs_no_new_file():
    request = asked(
        "/api/create",
        **{"from": "base"},
        system="s",
        template="t",
        parameters={"stop": ["x"], "colour": 1},
        messages=[{"role": "user", "content": "u"}],
        license=["MIT", "more"],
    )
    assert request == CreateModel(
        model="m",
        recipe=Recipe(
            source="base",
            system="s",
            template="t",
            options=Options(stop=("x",)),
            messages=(Message("user", (Text("u"),)),),
            licenses=("MIT", "more"),
        ),
        warnings=("unknown option 'colour' was ignored",),
    )
    plain = CreateModel(model="m", recipe=Recipe(source="base"))
    assert asked("/api/create", **{"from": "base"}) == plain


A, B, C = ("sha256:" + letter * 64 for letter in "abc")


def test_create_reads_files_adapters_and_all_words_of_a_modelfile():
    request = asked(
        "/api/create",
        files={"model.gguf": A},
        adapters={
            "one.gguf": B,
            "two.gguf": {"digest": C, "scale": 0.5},
            "tuned/adapter_config.json": A,
            "tuned/adapter_model.safetensors": B,
        },
        quantization="q4_K_M",
        draft="small",
        draft_quantize="Q8_0",
        documents={"guide.pdf": C},
        renderer="r",
        parser="",
        requires="0.1",
    )
    tuned = {"adapter_config.json": A, "adapter_model.safetensors": B}
    assert request.recipe == Recipe(
        files={"model.gguf": A},
        adapters=(
            AdapterPart(files={"one.gguf": B}),
            AdapterPart(files={"two.gguf": C}, scale=0.5),
            AdapterPart(files=tuned),
        ),
        quantize="q4_K_M",
        draft="small",
        draft_quantize="Q8_0",
        documents={"guide.pdf": C},
        renderer="r",
        parser="",
        requires="0.1",
    )
    assert request.warnings == ()


def test_a_path_that_leads_elsewhere_is_not_made_harmless_on_the_way():
    request = asked("/api/create", **{"from": "m"}, adapters={"../x/adapter_config.json": A})
    assert request.recipe.adapters[0].files == {"../x/adapter_config.json": A}


def test_files_of_one_adapter_have_one_scale():
    with pytest.raises(BadRequest, match="different scales"):
        asked(
            "/api/create",
            **{"from": "m"},
            adapters={"t/a.json": {"digest": A, "scale": 2}, "t/b.safetensors": B},
        )


def test_create_refuses_remote_models_by_name_and_ignores_what_describes_them():
    with pytest.raises(UnsupportedFeature, match="remote_host") as caught:
        asked("/api/create", **{"from": "base"}, remote_host="https://elsewhere.example")
    assert caught.value.param == "remote_host"
    request = asked("/api/create", **{"from": "base"}, info={"model_family": "x"})
    assert "info" in request.warnings[0]


def test_a_blob_is_found_with_head_and_brought_with_post():
    (route,) = [r for r in ollama.ROUTES if r.path == "/api/blobs/{digest}"]
    assert route.uploads
    for digest in (A, A.upper(), A.replace(":", "-")):
        head = route.decode(Incoming(method="HEAD", path={"digest": digest}))
        assert head.request == FindBlob(digest=A)
    post = route.decode(
        Incoming(method="POST", path={"digest": A}, headers={"content-length": "7"})
    )
    assert post.request == StoreBlob(digest=A, size_bytes=7)
    assert post.answer.opening(BlobStored(digest=A, size_bytes=7, created=True)).status == 201
    assert post.answer.opening(BlobStored(digest=A, size_bytes=7, created=False)).status == 200
    refusal = post.answer.refusal(BadRequest('digest mismatch, expected "a", got "b"'))
    assert json.loads(refusal) == {"error": 'digest mismatch, expected "a", got "b"'}


def test_old_names_of_the_model_field_work():
    decode = {r.path: r.decode for r in ollama.ROUTES}
    for path in ("/api/pull", "/api/delete", "/api/show", "/api/create"):
        body = json.dumps({"name": "old", "from": "m"}).encode()
        assert decode[path](Incoming(method="POST", body=body)).request.model == "old"


def test_credentials_of_a_pull_do_nothing_and_that_is_said():
    request = asked("/api/pull", insecure=True, password="canary")
    assert request.insecure
    assert "password" in request.warnings[0]
    assert "canary" not in request.warnings[0]


def test_text_to_tokenize_has_two_names_but_not_at_once():
    assert asked("/api/tokenize", content="x", add_special=False).text == "x"
    with pytest.raises(BadRequest, match="not both"):
        asked("/api/tokenize", content="x", text="y")


@pytest.mark.parametrize("tokens", [[-1], [2**31], [2**80]])
def test_numbers_that_are_no_tokens_are_refused(tokens):
    with pytest.raises(BadRequest):
        asked("/api/detokenize", tokens=tokens)
    with pytest.raises(BadRequest):
        asked("/api/generate", prompt="x", context=tokens)


@pytest.mark.parametrize(
    "name", ["m", "smollm2:135m", "ns/m", "host:5000/ns/m:tag", "_x", "hf.co/a/b:Q4_K_M", "A.b-c"]
)
def test_names_that_may_be(name):
    assert is_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a b",
        "/m",
        "../m",
        "./m.gguf",
        "a//b",
        "m:",
        ":t",
        "a/b/c/d",
        "n.s/m",
        "m" * 81,
        "m\n",
        "m:t:u",
        "-m",
        "~/m",
    ],
)
def test_names_that_may_not_be(name):
    assert not is_name(name)


def test_times_are_utc_with_nine_digits():
    assert tell_time(0) == "1970-01-01T00:00:00.000000000Z"
    assert tell_time(1_700_000_000_000_000_001) == "2023-11-14T22:13:20.000000001Z"


def chat_with_tools(**body):
    tools = [{"type": "function", "function": {"name": "f"}}]
    messages = [{"role": "user", "content": "x"}]
    return asked("/api/chat", **({"messages": messages, "tools": tools} | body))


@pytest.mark.parametrize(
    ("choice", "lost"),
    [
        ("auto", "the tools"),
        ("required", "the JSON schema"),
        ({"type": "function", "function": {"name": "f"}}, "the JSON schema"),
    ],
    ids=["auto", "required", "named"],
)
def test_tools_and_a_schema_in_one_request_are_told_of(choice, lost):
    (warning,) = chat_with_tools(format={"type": "object"}, tool_choice=choice).warnings
    assert warning.startswith(lost)


def test_tools_that_are_not_to_be_called_go_with_a_schema():
    for more in ({"tool_choice": "none"}, {"tools": []}):
        assert chat_with_tools(**({"format": "json"} | more)).warnings == ()
