"""A benchmark never takes a broken answer for a quick one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.streams import OllamaTarget, Target
from tests.faults.site import Reply

COMPARE = Path(__file__).parents[2] / "bench" / "compare.py"


def events(*told: object) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in told)


def completion(text: str) -> dict[str, object]:
    return {"choices": [{"index": 0, "text": text}]}


def counted(prompt: int, output: int) -> dict[str, object]:
    return {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": output}}


def test_the_words_and_counts_of_a_stream_are_taken(open_site) -> None:
    told = events(completion("One"), completion(" two"), counted(4, 2))
    here = open_site(lambda _: Reply(body=told))
    stream = Target("it", f"{here.url}/base/v1/", "m", key="secret").complete("x", 2)
    assert (stream.text, stream.prompt_tokens, stream.output_tokens) == ("One two", 4, 2)
    (asked,) = here.asked
    assert asked.path == "/base/v1/completions"
    assert asked.headers["authorization"] == "Bearer secret"


def test_a_token_that_writes_no_letter_was_seen_when_the_answer_ended(open_site) -> None:
    here = open_site(lambda _: Reply(body=events(completion(""), counted(4, 1))))
    stream = Target("it", here.url, "m").complete("x", 1)
    assert stream.first_seconds == stream.total_seconds > 0


@pytest.mark.parametrize(
    "reply",
    [
        Reply(500, b"out of order"),
        Reply(body=events(completion("One"), {"error": {"message": "out of order"}})),
        Reply(body=events(completion("One")), cut=0),
    ],
)
def test_what_breaks_is_no_answer(open_site, reply) -> None:
    here = open_site(lambda _: reply)
    with pytest.raises(RuntimeError, match="it: "):
        Target("it", here.url, "m").complete("x", 2)


def test_an_error_in_the_middle_of_an_answer_in_ollamas_words_is_one(open_site) -> None:
    lines = b'{"response": "One", "done": false}\n{"error": "out of order"}\n'
    here = open_site(lambda _: Reply(body=lines))
    with pytest.raises(RuntimeError, match="out of order"):
        OllamaTarget("it", here.url, "m").complete("x", 2)


@pytest.mark.parametrize("text", ["no JSON", '{"other": 1}', "[]"])
def test_another_object_than_asked_for_is_no_answer(open_site, text) -> None:
    here = open_site(lambda _: Reply(body=events(completion(text), counted(4, 2))))
    with pytest.raises(RuntimeError, match="it: "):
        Target("it", here.url, "m").extract("x", {"properties": {"name": {}}})


def test_a_vector_that_is_missing_is_said(open_site) -> None:
    rows = {"data": [{"index": 0, "embedding": "AAAA"}], "usage": {"prompt_tokens": 3}}
    here = open_site(lambda _: Reply(body=json.dumps(rows).encode()))
    with pytest.raises(RuntimeError, match="1 of 2 vectors"):
        Target("it", here.url, "m").embed(["one", "two"])


@pytest.mark.parametrize(
    ("peer", "why"),
    [
        ("/usr/bin/llama-server", "it begins with llama-server:"),
        ("llama-server:/nowhere", "no such file"),
        ("ollama:127.0.0.1:11434", "begins with http"),
        ("openai:http://127.0.0.1:1/v1", "--peer-model"),
    ],
)
def test_a_peer_that_cannot_be_meant_is_refused_before_anything_starts(tmp_path, peer, why) -> None:
    argv = [sys.executable, COMPARE, "--peer", peer, "--model", "x", "--home", tmp_path]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert why in done.stderr
