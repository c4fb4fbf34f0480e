"""Every dialect on the shelf, and every route of each, against one suite."""

from __future__ import annotations

import json
import math
import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dimora import dialects
from dimora.core.errors import BadRequest, DimoraError, InternalError, NotFound, Overloaded
from dimora.core.frames import FrameReader, pack
from dimora.core.types import Event, Queued, Request, ToolCall, Usage
from dimora.dialects import native
from dimora.dialects.base import Asked, Fixed, Incoming
from dimora.tasks.base import Token
from dimora.tasks.chat import Chat
from dimora.tasks.generate import Generate
from dimora.tasks.generation import CallPiece, GenerationDone, TextPiece, ThoughtPiece

SHELF = dialects.SHELF.all()
ROUTES = [
    pytest.param(name, route, id=f"{name} {route.path}")
    for name, dialect in SHELF.items()
    for route in dialect.ROUTES
]
READING = [
    p
    for p in ROUTES
    if {"POST", "DELETE"} & set(p.values[1].methods)
    and not (p.values[1].uploads or p.values[1].form or p.values[1].bare)
]
JSON_READING = [p for p in READING if p.values[0] != "native"]

HELLO = [{"role": "user", "content": "x"}]
# The least each JSON route needs.
BODIES = {
    "/api/generate": {"model": "m", "prompt": "x"},
    "/api/chat": {"model": "m", "messages": HELLO},
    "/api/embed": {"model": "m", "input": "x"},
    "/api/embeddings": {"model": "m", "prompt": "x"},
    "/api/show": {"model": "m"},
    "/api/pull": {"model": "m"},
    "/api/push": {"model": "m"},
    "/api/copy": {"source": "m", "destination": "n"},
    "/api/delete": {"model": "m"},
    "/api/create": {"model": "n", "from": "m"},
    "/api/tokenize": {"model": "m", "text": "x"},
    "/api/detokenize": {"model": "m", "tokens": [1]},
    "/v1/chat/completions": {"model": "m", "messages": HELLO},
    "/v1/completions": {"model": "m", "prompt": "x"},
    "/v1/embeddings": {"model": "m", "input": "x"},
    "/v1/rerank": {"model": "m", "query": "x", "documents": ["y"]},
    "/v1/vector_stores": {"name": "x"},
    "/v1/vector_stores/{store}/search": {"query": "x"},
    "/v1/vector_stores/{store}/files": {"file_id": "x"},
    "/v1/vector_stores/{store}/file_batches": {"file_ids": ["x"]},
    "/v1/tasks/{name}": {"model": "m", "text": "x"},
    "/mcp": {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "chat", "arguments": {"model": "m", "prompt": "x"}},
    },
}


def decode(route, body: bytes):
    path = dict.fromkeys(re.findall(r"{(\w+)(?::path)?}", route.path), "m")
    path |= {"name": "summarize"} if "name" in path else {}
    return route.decode(Incoming(method=route.methods[0], body=body, path=path, version="1.2.3"))


def test_no_two_dialects_claim_one_route():
    claimed = [(m, p.values[1].path) for p in ROUTES for m in p.values[1].methods]
    assert len(claimed) == len(set(claimed))


@pytest.mark.parametrize("dialect", SHELF.values(), ids=SHELF)
def test_an_error_has_a_json_body_in_every_language(dialect):
    told = json.loads(dialect.error(BadRequest('say "no"', hint="x", param="y")))
    assert 'say "no"' in json.dumps(told, ensure_ascii=False).replace('\\"', '"')


@pytest.mark.parametrize(("name", "route"), READING)
@pytest.mark.parametrize(
    "body",
    [b"", b"  ", b"{", b'{"model": ', b'"x"', b"[]", b"5", b"nul", b"\xff\xfe", b"[" * 5000],
    ids=str,
)
def test_a_body_that_is_none_is_a_bad_request(name, route, body):
    with pytest.raises(BadRequest):
        decode(route, body[:8] if body == b"[" * 5000 and name == "native" else body)


@pytest.mark.parametrize(("name", "route"), JSON_READING)
def test_invalid_utf8_inside_json_is_a_bad_request(name, route):
    with pytest.raises(BadRequest, match="UTF-8"):
        decode(route, b'{"model": "\xff"}')


@pytest.mark.parametrize(("name", "route"), JSON_READING)
def test_a_value_of_the_wrong_type_is_refused_by_the_fields_name(name, route):
    for field in BODIES[route.path]:
        for wrong in (True, {"canary": "canary-4711"}):
            if field == "input":
                continue
            told = refusal(route, BODIES[route.path] | {field: wrong})
            assert field in told
            assert "canary" not in told


def refusal(route, body: dict) -> str:
    """Raised, or answered where the answer has to name the request."""
    try:
        answer = decode(route, json.dumps(body).encode())
    except BadRequest as why:
        return why.message
    assert isinstance(answer, Fixed) and answer.status == 400
    return answer.body.decode()


@pytest.mark.parametrize(("name", "route"), JSON_READING)
def test_the_least_body_is_a_request_without_warnings(name, route):
    asked = decode(route, json.dumps(BODIES[route.path]).encode())
    assert isinstance(asked, Asked)
    assert isinstance(asked.request, Request)
    assert asked.request.warnings == ()


@pytest.mark.parametrize(("name", "route"), JSON_READING)
def test_an_unknown_field_is_warned_about_by_name_and_a_null_is_not(name, route):
    body = BODIES[route.path] | {"colour": "canary-4711", "stream": None, "keep_alive": None}
    asked = decode(route, json.dumps(body).encode())
    mine = [w for w in asked.request.warnings if "stream" not in w and "keep_alive" not in w]
    assert len(mine) == 1
    assert "colour" in mine[0]
    assert "canary" not in mine[0]


FORMS = [p for p in ROUTES if p.values[1].form]


@pytest.mark.parametrize(("name", "route"), FORMS)
@pytest.mark.parametrize("body", [b"", b"{}", b"--x\r\n\r\n", b"--x\r\nContent-Disposition: form"])
@pytest.mark.parametrize("kind", ["", "application/json", "multipart/form-data; boundary=x"])
def test_what_is_no_form_with_a_file_is_a_bad_request(name, route, body, kind):
    with pytest.raises(BadRequest):
        route.decode(Incoming(method="POST", body=body, headers={"content-type": kind}))


@pytest.mark.parametrize(
    ("name", "route"), [p for p in ROUTES if p not in READING and p not in FORMS]
)
def test_routes_that_only_tell_ignore_the_body(name, route):
    answer = decode(route, b"\xff{")
    assert isinstance(answer, Asked | Fixed)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = sorted(
    {
        field.encode_name
        for module in ("ollama.inference", "ollama.library", "ollama.embedding", "openai.chat")
        for body in vars(__import__(f"dimora.dialects.{module}", fromlist=["x"])).values()
        if isinstance(body, type) and issubclass(body, msgspec.Struct) and body.__name__ != "Body"
        for field in msgspec.structs.fields(body)
    }
)


@pytest.mark.parametrize(("name", "route"), JSON_READING)
@settings(max_examples=60, deadline=None)
@given(changes=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4))
def test_whatever_is_sent_the_answer_is_a_request_or_an_error_of_ours(name, route, changes):
    body = json.dumps(BODIES[route.path] | changes, allow_nan=True).encode()
    try:
        asked = decode(route, body)
    except (BadRequest, NotFound):
        return
    if isinstance(asked, Fixed):
        return
    # What a dialect lets in can travel to a worker.
    assert isinstance(msgspec.msgpack.encode(asked.request), bytes)


@pytest.mark.parametrize(("name", "route"), READING)
@settings(max_examples=60, deadline=None)
@given(body=st.binary(max_size=64))
def test_no_bytes_make_anything_but_an_error_of_ours(name, route, body):
    try:
        decode(route, body)
    except DimoraError as error:
        assert error.status < 500


CALL = ToolCall(id="call_abcd1234", name="weather", arguments={"city": "Roma", "n": [1, 2.5]})
EVENTS: tuple[Event, ...] = (
    ThoughtPiece(text="I "),
    ThoughtPiece(text="think"),
    TextPiece(text="Buon", tokens=(Token(1, "Buon", -0.25),)),
    TextPiece(text="giorno, è 你好\n\n", tokens=(Token(2, "giorno, è 你好\n\n", -0.5),)),
    CallPiece(index=0, call=CALL),
    GenerationDone(reason="tool_calls", usage=Usage(prompt_tokens=3, output_tokens=4)),
)


def generation_answers(stream: bool):
    bodies = {
        "/api/generate": {"logprobs": True},
        "/api/chat": {"logprobs": True},
        "/v1/chat/completions": {"logprobs": True},
        "/v1/completions": {"logprobs": 0},
    }
    for dialect in SHELF.values():
        for route in dialect.ROUTES:
            if route.path in bodies:
                body = BODIES[route.path] | bodies[route.path] | {"stream": stream}
                yield route.path, decode(route, json.dumps(body).encode()).answer


def said(path: str, piece: dict) -> dict[str, object]:
    """Text, thought, tool names and logprobs of one object of any of the JSON languages."""
    part = piece.get("message") or piece
    if "choices" in piece:
        choice = piece["choices"][0] if piece["choices"] else {}
        part = choice.get("delta") or choice.get("message") or choice
        piece = choice
    logprobs = piece.get("logprobs") or []
    if isinstance(logprobs, dict):
        logprobs = logprobs.get("content") or [
            {"logprob": x} for x in logprobs.get("token_logprobs", [])
        ]
    return {
        "text": part.get("content") or part.get("response") or part.get("text") or "",
        "thought": part.get("thinking") or part.get("reasoning") or "",
        "calls": [
            (c["function"]["name"], _arguments(c["function"]["arguments"]))
            for c in part.get("tool_calls", [])
        ],
        "logprobs": [entry["logprob"] for entry in logprobs],
    }


def _arguments(value):
    return json.loads(value) if isinstance(value, str) else value


def test_a_whole_answer_says_what_the_joined_stream_says():
    wholes = dict(generation_answers(stream=False))
    seen = 0
    for path, answer in generation_answers(stream=True):
        stream = b"".join(answer.frame(e) for e in EVENTS).decode()
        if path.startswith("/v1"):
            pieces = [f[6:] for f in stream.split("\n\n") if f.startswith("data: {")]
        else:
            pieces = stream.splitlines()
        told = [said(path, json.loads(p)) for p in pieces]
        joined = {
            "text": "".join(t["text"] for t in told),
            "thought": "".join(t["thought"] for t in told),
            "calls": [c for t in told for c in t["calls"]],
            "logprobs": [x for t in told for x in t["logprobs"]],
        }
        assert said(path, json.loads(wholes[path].whole(EVENTS))) == joined, path
        assert joined["text"] == "Buongiorno, è 你好\n\n"
        assert joined["thought"] == "I think"
        assert joined["logprobs"] == [-0.25, -0.5]
        seen += 1
    assert seen == 4


def test_a_stream_that_fails_ends_with_the_error_in_every_language():
    error = Overloaded("no room", code="special")
    for path, answer in generation_answers(stream=True):
        answer.frame(EVENTS[0])
        told = answer.failure(error).decode()
        assert json.loads(told.removeprefix("data: "))["error"]
        assert "no room" in told, path
        assert told.endswith("\n\n" if path.startswith("/v1") else "\n")


def test_our_own_language_loses_nothing_in_either_direction():
    request = Chat(
        model="m",
        messages=(),
        think="high",
        keep_alive=math.inf,
        warnings=("w",),
        json_schema={"type": "object"},
    )
    asked = native.decode_request(Incoming(method="POST", body=msgspec.msgpack.encode(request)))
    assert asked.request == request
    other = Generate(model="m", prompt="x", images=(b"\x00\xff",))
    body = msgspec.msgpack.encode(other)
    assert native.decode_request(Incoming(method="POST", body=body)).request == other
    events = (Queued(place=1), *EVENTS)
    stream = b"".join(asked.answer.frame(e) for e in events)
    assert tuple(FrameReader(native.event_union()).feed(stream)) == events
    assert asked.answer.whole(events) == stream


def test_an_error_survives_our_own_language():
    error = Overloaded("full", hint="wait", retry_after_seconds=3, param="p")
    (failure,) = FrameReader(native.event_union()).feed(pack(native.failure_of(error)))
    back = native.error_of(failure)
    assert type(back) is Overloaded
    assert (back.message, back.hint, back.retry_after_seconds, back.param) == (
        "full",
        "wait",
        3,
        "p",
    )
    assert native.failure_of(back) == native.failure_of(error)
    unknown = msgspec.structs.replace(failure, kind="Path")
    assert type(native.error_of(unknown)) is InternalError


def test_every_task_can_be_asked_in_our_own_language():
    from dimora import tasks

    tags = {kind.__struct_config__.tag for kind in native.request_union().__args__}
    assert tags == set(tasks.SHELF.names()) | set(tasks.READY.names())
