"""The gate: Host, Origin, identity, size."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest

from dimora.core.addresses import Address
from dimora.core.api_keys import ApiKey
from dimora.core.types import Done
from dimora.server.gate import read_credential
from dimora.tasks.list_models import ModelsFound

KEYS = (ApiKey(user="anna", sha256="0"),)


async def no_models(request):
    yield ModelsFound(models=())
    yield Done(warnings=request.warnings)


async def test_our_own_host_passes_and_the_answer_names_the_server(make_caller):
    caller, _ = make_caller(no_models)
    response = await caller.call("GET", "/api/tags")
    assert (response.status, response.body) == (200, b'{"models":[]}')
    assert response.header("server").startswith("dimora/")


@pytest.mark.parametrize("path", ["/", "/api/tags", "/health", "/metrics", "/nowhere"])
@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0"])
async def test_a_foreign_host_is_refused_on_every_path_and_bind_without_a_word(
    make_caller, path, bound
):
    caller, house = make_caller(no_models, host=Address(bound, 11434))
    response = await caller.call("GET", path, host="evil.example:11434")
    assert (response.status, response.body) == (403, b"")
    assert house.asked == []


async def test_two_hosts_or_none_are_refused(make_caller):
    caller, _ = make_caller(no_models)
    twice = [("host", "localhost")]
    assert (await caller.call("GET", "/", b"", twice)).status == 403
    assert (await caller.call("GET", "/", host=None)).status == 403
    assert (await caller.call("GET", "/", host="")).status == 403


async def test_http_1_0_needs_no_host(make_caller):
    caller, _ = make_caller(no_models)
    assert (await caller.call("GET", "/", host=None, http_version="1.0")).status == 200
    foreign = await caller.call("GET", "/", host="evil.example", http_version="1.0")
    assert foreign.status == 403


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
async def test_a_foreign_origin_is_refused_before_anything_is_asked(make_caller, method):
    caller, house = make_caller(no_models)
    headers = [("origin", "https://evil.example")]
    response = await caller.call(method, "/api/tags", b"", headers)
    assert (response.status, response.body) == (403, b"")
    assert response.header("access-control-allow-origin") is None
    assert house.asked == []


async def test_an_allowed_origin_is_told_so_on_answers_and_errors(make_caller):
    caller, _ = make_caller(no_models)
    headers = [("origin", "http://localhost:3000")]
    for path, status in (("/api/tags", 200), ("/nowhere", 404), ("/api/chat", 405)):
        response = await caller.call("GET", path, b"", headers)
        assert response.status == status
        assert response.header("access-control-allow-origin") == "http://localhost:3000"
        assert response.header("vary") == "Origin"


async def test_two_origins_are_refused(make_caller):
    caller, _ = make_caller(no_models)
    headers = [("origin", "http://localhost"), ("origin", "https://evil.example")]
    assert (await caller.call("GET", "/api/tags", b"", headers)).status == 403


async def test_a_preflight_tells_methods_and_headers_and_asks_nothing(make_caller):
    caller, house = make_caller(no_models, api_keys=KEYS)
    headers = [("origin", "http://localhost"), ("access-control-request-method", "POST")]
    response = await caller.call("OPTIONS", "/api/chat", b"", headers)
    assert (response.status, response.body) == (204, b"")
    allowed = response.header("access-control-allow-headers").lower().split(", ")
    assert {"authorization", "content-type", "openai-beta", "x-stainless-timeout"} <= set(allowed)
    assert "DELETE" in response.header("access-control-allow-methods")
    assert house.credentials == []


async def test_options_without_an_origin_is_empty(make_caller):
    caller, _ = make_caller(no_models)
    response = await caller.call("OPTIONS", "/nowhere")
    assert response.status == 204
    assert response.header("access-control-allow-methods") is None


@pytest.mark.parametrize(
    ("headers", "credential"),
    [
        ([], None),
        ([(b"authorization", b"Bearer ")], None),
        ([(b"authorization", b"Bearer abc ")], "abc"),
        ([(b"authorization", b"bearer abc")], "abc"),
        ([(b"authorization", b"Basic abc")], None),
        ([(b"authorization", b"Basic " + b64encode(b"anyone:abc"))], "abc"),
        ([(b"authorization", b"basic " + b64encode(b":a:b:c"))], "a:b:c"),
        ([(b"authorization", b"Basic " + b64encode("ada:città".encode()))], "città"),
        ([(b"authorization", b"Basic " + b64encode(b"abc"))], None),
        ([(b"authorization", b"Basic " + b64encode(b"abc:"))], None),
        ([(b"authorization", b"Basic " + b64encode(b"abc:\xff"))], None),
        ([(b"authorization", b"Basic YTpi!!!")], None),
        ([(b"authorization", b"Basic")], None),
        ([(b"x-api-key", b"abc")], "abc"),
        ([(b"authorization", b"Bearer one"), (b"x-api-key", b"two")], "one"),
        ([(b"authorization", b"Basic one"), (b"x-api-key", b"two")], "two"),
    ],
)
def test_a_credential_is_a_bearer_a_password_or_an_api_key(headers, credential):
    assert read_credential(headers) == credential


async def test_without_keys_any_bearer_will_do(make_caller):
    caller, house = make_caller(no_models)
    for value in ("Bearer ", "Bearer dummy", "Basic x"):
        response = await caller.call("GET", "/api/tags", b"", [("authorization", value)])
        assert response.status == 200
    assert house.credentials == [(None, True)] * 3


async def test_with_keys_all_but_greetings_need_one(make_caller):
    caller, house = make_caller(no_models, api_keys=KEYS)
    for path in ("/", "/health", "/api/version"):
        assert (await caller.call("GET", path)).status == 200
    for path in ("/api/tags", "/metrics", "/v1/models", "/nowhere"):
        response = await caller.call("GET", path)
        assert response.status == 401, path
        assert response.header("www-authenticate") == "Bearer"
    assert house.asked == []
    right = await caller.call("GET", "/api/tags", b"", [("authorization", "Bearer right")])
    assert right.status == 200
    assert (await caller.call("GET", "/api/tags", b"", [("x-api-key", "right")])).status == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/tags", {"error": "a valid API key is needed"}),
        (
            "/v1/nowhere",
            {
                "error": {
                    "message": "a valid API key is needed",
                    "type": "authentication_error",
                    "param": None,
                    "code": "not_authenticated",
                    "hint": "send one",
                }
            },
        ),
        ("/nowhere", {"error": "a valid API key is needed"}),
    ],
)
async def test_an_error_at_the_gate_has_the_form_of_the_paths_language(make_caller, path, body):
    caller, _ = make_caller(no_models, api_keys=KEYS)
    response = await caller.call("GET", path)
    assert json.loads(response.body) == body
    assert response.header("x-dimora-hint") == "send one"


@pytest.mark.parametrize(
    ("client", "is_loopback"),
    [("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("10.0.0.2", False)],
)
async def test_the_house_is_told_whether_the_peer_is_local(make_caller, client, is_loopback):
    caller, house = make_caller(no_models)
    forged = [("x-forwarded-for", "127.0.0.1")]
    await caller.call("GET", "/api/tags", b"", forged, client=client)
    assert house.credentials == [(None, is_loopback)]


async def test_a_body_that_is_declared_too_large_is_refused_unread(make_caller):
    caller, house = make_caller(no_models, max_body_bytes=10)
    response = await caller.call("POST", "/v1/embeddings", b"", [("content-length", "11")])
    assert response.status == 413
    told = json.loads(response.body)["error"]
    assert (told["type"], told["code"]) == ("invalid_request_error", "body_too_large")
    assert house.asked == []


async def test_a_body_that_grows_too_large_is_refused_at_the_limit(make_caller):
    caller, house = make_caller(no_models, max_body_bytes=10)
    response = await caller.call("POST", "/api/show", [b"12345", b"67890", b"1", b"never read"])
    assert response.status == 413
    assert json.loads(response.body) == {"error": "the request body is larger than 10 bytes"}
    assert house.asked == []


async def test_the_rest_of_a_large_body_is_read_unless_the_caller_asks_first(make_caller):
    caller, _ = make_caller(max_body_bytes=10)
    pieces = [b"x" * 9] * 5
    for headers, unread in (([], 0), ([("expect", "100-continue")], 3)):
        body = list(pieces)
        call = caller.begin("POST", "/api/show", body, headers)
        assert (await call.finish()).status == 413
        assert len(call.unread) == unread


async def test_a_body_of_just_the_limit_passes(make_caller):
    caller, _ = make_caller(no_models, max_body_bytes=10)
    assert (await caller.call("POST", "/api/show", b"1234567890")).status == 400


async def test_without_a_key_registry_clients_are_asked_for_a_password_in_their_own_words(
    make_caller,
):
    caller, house = make_caller(no_models, api_keys=KEYS)
    for path in ("/v2/", "/v2/library/m/manifests/latest", "/v2/nowhere"):
        response = await caller.call("GET", path)
        assert response.status == 401
        assert response.header("www-authenticate").startswith("Basic realm=")
        assert response.header("docker-distribution-api-version") == "registry/2.0"
        assert json.loads(response.body)["errors"][0]["code"] == "UNAUTHORIZED"
    elsewhere = await caller.call("GET", "/api/tags")
    assert elsewhere.header("www-authenticate") == "Bearer"
    assert elsewhere.header("docker-distribution-api-version") is None
    assert house.asked == []


async def test_a_key_as_password_opens(make_caller):
    caller, _ = make_caller(no_models, api_keys=KEYS)
    for user in ("anna", "", "anyone at all"):
        basic = "Basic " + b64encode(f"{user}:right".encode()).decode()
        response = await caller.call("GET", "/v2/", b"", [("authorization", basic)])
        assert (response.status, response.body) == (200, b"{}")
        wrong = "Basic " + b64encode(f"right:{user}".encode()).decode()
        assert (await caller.call("GET", "/v2/", b"", [("authorization", wrong)])).status == 401
