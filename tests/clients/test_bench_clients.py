"""The clients of the benchmarks, OpenAI's way and Ollama's, against a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.streams import OllamaTarget, Target
from tests.conftest import LONG

MODEL = "smollm2:135m"
EMBEDDER = "multilingual-e5-small"
COMPARE = Path(__file__).parents[2] / "bench" / "compare.py"
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "married": {"type": "boolean"}},
    "required": ["name", "married"],
    "additionalProperties": False,
}


@pytest.fixture(params=[Target, OllamaTarget])
def kind(request):
    return request.param


def test_an_answer_is_timed_and_its_tokens_are_counted(server, kind):
    stream = kind("house", server.url, MODEL).complete("Once upon a time", 12)
    assert stream.prompt_tokens == 4
    assert 1 <= stream.output_tokens <= 12
    assert 0 < stream.first_seconds <= stream.total_seconds
    assert stream.text


def test_both_ways_read_the_same_tokens_and_write_the_same_words(server):
    either = [
        kind("house", url, MODEL).complete("The old house on the hill", 8)
        for kind, url in ((Target, f"{server.url}/v1"), (OllamaTarget, server.url))
    ]
    assert (
        len({(stream.text, stream.prompt_tokens, stream.output_tokens) for stream in either}) == 1
    )


def test_objects_and_vectors_come_either_way(server, kind):
    target = kind("house", server.url, MODEL)
    assert target.extract("Maria was never married. Who is this?", SCHEMA).output_tokens > 3
    assert kind("house", server.url, EMBEDDER).embed(["passage: one", "passage: two"]) > 6


def test_many_at_once_are_all_counted(server, kind):
    rate, streams = kind("house", server.url, MODEL).together(["One", "Two", "Three"], 6)
    assert len(streams) == 3
    assert rate > 0


@pytest.mark.skipif(not LONG, reason="minutes; `make nightly` runs it")
@pytest.mark.timeout(600)
def test_a_comparison_with_servers_that_run_has_a_table_for_each(server, model_home, tmp_path):
    out = tmp_path / "told.md"
    words = ["--model", MODEL, "--home", str(model_home), "--work", "extract", "--out", str(out)]
    peers = ["--peer", f"openai:{server.url}/v1", "--peer", f"ollama:{server.url}"]
    env = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    argv = [sys.executable, str(COMPARE), *words, *peers, "--peer-model", MODEL]
    subprocess.run(argv, check=True, env=env, timeout=600)
    told = out.read_text()
    assert told.count("| JSON by schema of 1 000, s | at most 0.7 |") == 2
    assert "no ratio" not in told
