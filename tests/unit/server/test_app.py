"""Routes: what is there, what is not, and with which verb."""

from __future__ import annotations

import json

import pytest

from dimora import __version__, dialects
from dimora.core.types import Done
from dimora.tasks.list_models import ListModels, ModelsFound
from dimora.tasks.show_model import ShowModel


async def no_models(request):
    yield ModelsFound(models=())
    yield Done(warnings=request.warnings)


async def test_the_greeting_many_clients_probe(make_caller):
    caller, _ = make_caller()
    response = await caller.call("GET", "/")
    assert (response.status, response.body) == (200, b"Ollama is running")
    assert response.header("content-type").startswith("text/plain")
    head = await caller.call("HEAD", "/")
    assert (head.status, head.body) == (200, b"")
    assert head.header("content-length") == "17"


async def test_the_version_is_the_compatible_one_and_the_header_our_own(make_caller):
    caller, _ = make_caller(ollama_version="0.99.1")
    response = await caller.call("GET", "/api/version")
    assert json.loads(response.body) == {"version": "0.99.1"}
    assert response.header("server") == f"dimora/{__version__}"


@pytest.mark.parametrize("path", ["/nowhere", "/api", "/api/", "/api/chat/", "//", "/v2/models"])
async def test_an_unknown_path_is_a_404_in_plain_text(make_caller, path):
    caller, _ = make_caller()
    response = await caller.call("GET", path)
    assert (response.status, response.body) == (404, b"404 page not found")


async def test_a_known_path_with_another_verb_is_a_405_that_names_the_right_ones(make_caller):
    caller, house = make_caller(no_models)
    for dialect in dialects.SHELF.all().values():
        verbs: dict[str, set[str]] = {}
        for route in dialect.ROUTES:
            verbs.setdefault(route.path, set()).update(route.methods)
        for known, methods in verbs.items():
            path = known.replace("{model:path}", "a/b:c")
            for method in {"GET", "HEAD", "POST", "PUT", "DELETE"} - methods:
                response = await caller.call(method, path)
                assert response.status == 405, (method, path)
                assert response.header("allow") == ", ".join(sorted(methods))
    assert house.asked == []


async def test_a_head_of_tags_has_no_body(make_caller):
    caller, house = make_caller(no_models)
    response = await caller.call("HEAD", "/api/tags")
    assert (response.status, response.body) == (200, b"")
    assert response.header("content-length") == str(len(b'{"models":[]}'))
    assert isinstance(house.asked[0][1], ListModels)


async def test_a_model_in_the_path_may_hold_slashes(make_caller):
    caller, house = make_caller(no_models)
    await caller.call("GET", "/v1/models/anna/tiny:v1")
    assert house.asked[0][1] == ShowModel(model="anna/tiny:v1")


async def test_health_and_metrics(make_caller):
    caller, _ = make_caller()
    health = await caller.call("GET", "/health")
    assert json.loads(health.body) == {"status": "ok", "version": __version__}
    metrics = await caller.call("GET", "/metrics")
    assert metrics.body == b"dimora_requests_total 1\n"
    assert metrics.header("content-type").startswith("text/plain; version=0.0.4")


async def test_the_lifespan_starts_and_closes_the_house(make_caller):
    caller, house = make_caller()
    incoming = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    told = []

    async def receive():
        return incoming.pop(0)

    async def send(message):
        told.append((message["type"], list(house.lives)))

    await caller.app({"type": "lifespan"}, receive, send)
    assert told == [
        ("lifespan.startup.complete", ["start"]),
        ("lifespan.shutdown.complete", ["start", "close"]),
    ]


async def test_a_web_socket_is_turned_away(make_caller):
    caller, _ = make_caller()
    told = []

    async def send(message):
        told.append(message["type"])

    await caller.app({"type": "websocket", "path": "/api/chat", "headers": []}, None, send)
    assert told == ["websocket.close"]
