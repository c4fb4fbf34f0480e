"""curl, as the manuals of other people show it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest


@pytest.fixture(scope="module")
def curl(server):
    if shutil.which("curl") is None:
        if os.environ.get("CI"):
            pytest.fail("curl is needed in CI")
        pytest.skip("curl is not installed")

    def run(path: str, *arguments: str) -> str:
        command = ["curl", "-sS", "-m", "60", *arguments, f"{server.url}{path}"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return run


def test_the_greeting_many_clients_probe(curl):
    assert curl("/") == "Ollama is running"
    assert "200 OK" in curl("/", "-I")


def test_a_stream_of_lines(curl):
    body = {"model": "smollm2:135m", "prompt": "Hi", "options": {"num_predict": 4}}
    lines = curl("/api/generate", "-N", "-d", json.dumps(body)).splitlines()
    events = [json.loads(line) for line in lines]
    assert [e["done"] for e in events] == [False] * (len(events) - 1) + [True]


def test_server_sent_events(curl):
    body = {
        "model": "smollm2:135m",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 4,
        "stream": True,
    }
    text = curl("/v1/chat/completions", "-N", "-d", json.dumps(body))
    frames = [f for f in text.split("\n\n") if f.startswith("data: ")]
    assert frames[-1] == "data: [DONE]"
    assert all(json.loads(f[6:])["object"] == "chat.completion.chunk" for f in frames[:-1])


def test_unknown_paths_and_wrong_verbs(curl):
    assert curl("/nowhere") == "404 page not found"
    assert curl("/api/chat", "-o", os.devnull, "-w", "%{http_code}") == "405"
    assert curl("/api/delete", "-o", os.devnull, "-w", "%{http_code}", "-X", "POST") == "405"


def test_tokenize_and_back(curl):
    text = "Ciao, città bella! 你好"
    body = json.dumps({"model": "smollm2:135m", "text": text, "add_special": False})
    tokens = json.loads(curl("/api/tokenize", "-d", body))["tokens"]
    assert len(tokens) > 5
    back = json.loads(
        curl("/api/detokenize", "-d", json.dumps({"model": "smollm2:135m", "tokens": tokens}))
    )
    assert back["text"] == text


def test_health_and_metrics(curl):
    assert json.loads(curl("/health"))["status"] == "ok"
    curl("/api/generate", "-d", '{"model":"smollm2:135m","prompt":"x","options":{"num_predict":1}}')
    told = curl("/metrics")
    for family in (
        "dimora_requests_total",
        "dimora_output_tokens_total",
        "dimora_time_to_first_token_seconds_bucket",
        "dimora_queue_duration_seconds_bucket",
        "dimora_model_memory_bytes",
        "dimora_model_load_duration_seconds_bucket",
    ):
        assert family in told, family


def test_promtool_finds_nothing_to_say_about_the_metrics(curl):
    promtool = shutil.which("promtool")
    if promtool is None:
        if os.environ.get("CI"):
            pytest.fail("promtool is needed in CI")
        pytest.skip("promtool is not installed (Debian package prometheus)")
    told = curl("/metrics")
    result = subprocess.run(
        [promtool, "check", "metrics"], input=told, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_a_model_whose_licence_nobody_accepted_is_not_pulled(curl):
    answer = curl("/api/pull", "-d", '{"model": "llama3.2:1b"}', "-w", " %{http_code}")
    body, _, status = answer.rpartition(" ")
    assert status == "403"
    error = json.loads(body)["error"]
    assert "Llama 3.2 Community License" in error and "accepted_licences" in error
