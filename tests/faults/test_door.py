"""Who is let in, and what is written down."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from tests.conftest import environment, run_dimora

MODEL = "smollm2:135m"
KEYS = "anna:anna-key-0123456789:manager,bo:bobo-key-0123456789"


def call(server, path, body=None, method=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{server.url}{path}", data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.0.2.1:11434"])
def test_a_wider_bind_without_a_key_refuses_to_start_and_says_how_to_mend_it(tmp_path, host):
    result = run_dimora("serve", home=tmp_path, check=False, DIMORA_HOST=host)
    assert result.returncode == 1
    assert "key" in result.stderr
    assert "DIMORA_API_KEYS" in result.stderr
    assert "Traceback" not in result.stderr


def test_with_keys_every_route_but_the_greetings_needs_one(make_server):
    server = make_server(DIMORA_API_KEYS=KEYS, DIMORA_ENGINE="echo")
    for path, body in (
        ("/api/tags", None),
        ("/api/ps", None),
        ("/v1/models", None),
        ("/api/chat", {"model": MODEL, "messages": []}),
        ("/v1/chat/completions", {"model": MODEL, "messages": []}),
        ("/api/pull", {"model": MODEL}),
        ("/dimora/v1/ask", {}),
        ("/metrics", None),
    ):
        assert call(server, path, body)[0] == 401, path
        assert call(server, path, body, **bearer("wrong-key-0123456789"))[0] == 401, path
    assert call(server, "/api/tags", **bearer("bobo-key-0123456789"))[0] == 200
    assert call(server, "/health")[0] == 200
    assert call(server, "/")[0] == 200


def test_a_user_may_use_models_but_not_change_the_store(make_server):
    server = make_server(DIMORA_API_KEYS=KEYS, DIMORA_ENGINE="echo")
    anna, bo = bearer("anna-key-0123456789"), bearer("bobo-key-0123456789")
    copy = {"source": MODEL, "destination": "mine"}
    status, body = call(server, "/api/copy", copy, **bo)
    assert status == 403
    assert "manage" in json.loads(body)["error"]
    assert call(server, "/api/copy", copy, **anna)[0] == 200
    generate = {"model": "mine", "prompt": "x", "stream": False}
    assert call(server, "/api/generate", generate, **bo)[0] == 200
    assert call(server, "/api/delete", {"model": "mine"}, "DELETE", **bo)[0] == 403


def test_every_request_leaves_one_line_and_never_its_content(make_server):
    server = make_server(DIMORA_ENGINE="echo")
    secret = "canary-4711-prompt"
    call(server, "/api/generate", {"model": MODEL, "prompt": secret, "stream": False})
    call(server, "/api/generate", {"model": "nobody", "prompt": secret})
    call(server, "/api/tags")
    call(server, "/api/generate", {"model": MODEL, "prompt": secret, "options": {"top_k": "x"}})
    lines = (server.home / "log" / "audit.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [(r["request"], r["model"], r["ended"]) for r in records] == [
        ("generate", MODEL, "done"),
        ("generate", "nobody", "model_not_found"),
        ("list_models", "", "done"),
    ]
    assert all(r["user"] == "local" and r["proof"] == "loopback" for r in records)
    assert records[0]["output_tokens"] > 0
    for path in server.home.rglob("*"):
        if path.is_file() and "blobs" not in path.parts:
            assert secret.encode() not in path.read_bytes(), path.name


def test_nothing_is_answered_when_nothing_can_be_recorded(make_server):
    server = make_server(DIMORA_ENGINE="echo")
    log = server.home / "log" / "audit.jsonl"
    assert call(server, "/api/tags")[0] == 200
    log.unlink()
    log.mkdir()
    status, body = call(server, "/api/generate", {"model": MODEL, "prompt": "x", "stream": False})
    assert status == 500
    assert "audit" in json.loads(body)["error"]
    log.rmdir()
    assert call(server, "/api/tags")[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:11434", "127.0.0.1.evil.example"])
def test_a_foreign_host_header_is_refused(server, host):
    assert call(server, "/api/tags", Host=host)[0] == 403


def test_a_foreign_origin_is_refused_and_a_local_one_is_not(server):
    assert call(server, "/api/tags", Origin="https://evil.example")[0] == 403
    assert call(server, "/api/tags", Origin="http://localhost:3000")[0] == 200


def test_a_server_opens_no_file_that_a_client_names(server, smollm2_path):
    for name in (str(smollm2_path), f"../../{smollm2_path.name}", "~/x.gguf", "./x.gguf"):
        status, body = call(server, "/api/generate", {"model": name, "prompt": "x"})
        assert status in (400, 404)
        assert b"GGUF" not in body


def test_two_servers_cannot_take_one_port(server, tmp_path):
    process = subprocess.run(
        [sys.executable, "-m", "dimora", "serve"],
        env=environment(tmp_path, DIMORA_HOST=f"127.0.0.1:{server.port}"),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert process.returncode == 1
    assert str(server.port) in process.stderr
    assert "Traceback" not in process.stderr
