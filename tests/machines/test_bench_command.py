"""`dimora bench` as a person runs it, with real engines and a real model."""

from __future__ import annotations

import json
import platform

import pytest

from dimora.tasks.profile import Benched
from tests.conftest import CHAT_MODEL, EMBED_MODEL, run_dimora

NEEDS_X86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="OpenVINO is for x86-64"
)


def test_the_echo_engine_is_measured_when_it_is_named(home):
    ran = run_dimora("bench", CHAT_MODEL, "--engine", "echo", "--quick", home=home)
    lines = ran.stdout.splitlines()
    assert lines[0].startswith("ENGINE") and lines[1].startswith("echo ")
    assert any(line.startswith("echo") and "█" in line for line in lines[2:])
    assert "None of these is chosen by itself" in ran.stdout
    assert ran.stderr.splitlines() == [
        f"echo: {step}"
        for step in (
            "loading",
            "warming up",
            "reading",
            "writing",
            "writing 4 answers at once",
        )
    ]


def test_what_is_wrong_is_said_in_words(home):
    ran = run_dimora("bench", CHAT_MODEL, "--engine", "warp", home=home, check=False)
    assert ran.returncode == 1 and "there is no engine 'warp'" in ran.stderr
    assert "Traceback" not in ran.stderr
    ran = run_dimora("bench", CHAT_MODEL, "--forget", home=home, check=False)
    assert ran.returncode == 1 and "no measurement decides" in ran.stderr
    ran = run_dimora("bench", CHAT_MODEL, "--forget", "--quick", home=home, check=False)
    assert ran.returncode == 2


@NEEDS_X86
def test_the_fastest_of_two_real_engines_runs_it_from_then_on(make_server):
    """Through a running server: it takes up what was measured without a new start."""
    server = make_server()
    ours = {"DIMORA_HOST": f"127.0.0.1:{server.port}"}

    def dimora(*words: str) -> str:
        return run_dimora(*words, home=server.home, timeout_seconds=200, **ours).stdout

    before = json.loads(dimora("plan", CHAT_MODEL, "--json"))["forecast"]
    assert not before["engine_reason"].startswith("measured")
    # Whatever else this machine does meanwhile.
    words = ("--quick", "--apply", "--inexact", "--force", "--json")
    benched = json.loads(dimora("bench", CHAT_MODEL, *words))
    assert benched["applied"] and benched["failed"] == {}
    figures = {one["engine"]: one for one in benched["figures"]}
    assert figures.keys() == {"llama_cpp", "openvino"}
    for one in figures.values():
        assert one["read_rate"] > one["written_rate"] > 1
        assert one["read_tokens"] >= 64 and one["streams"] == 4 and one["together_rate"] > 0
        assert one["load_seconds"] > 0.05 and one["memory_bytes"] > 100 << 20
        assert one["again_seconds"] > 0
    fastest = min(benched["typical_seconds"], key=benched["typical_seconds"].get)
    assert benched["would"]["engine"] == benched["eligible"][0] == fastest

    dimora("run", CHAT_MODEL, "Hello", "--option", "num_predict=2")
    (running,) = json.loads(dimora("ps", "--json"))
    assert running["engine"] == fastest and running["engine_reason"].startswith("measured ")
    planned = dimora("plan", CHAT_MODEL)
    assert f"{figures[fastest]['written_rate']:.0f} tokens/s, measured " in planned
    assert "decides which engine runs it" in dimora("show", CHAT_MODEL)

    assert "forgotten" in dimora("bench", CHAT_MODEL, "--forget")
    after = json.loads(dimora("plan", CHAT_MODEL, "--json"))["forecast"]
    assert after["engine"] == before["engine"]
    assert "Engines as measured" not in dimora("show", CHAT_MODEL)


def test_an_embedder_is_timed_by_what_it_reads(home):
    told = run_dimora(
        *("bench", EMBED_MODEL, "--engine", "llama_cpp", "--quick", "--apply", "--force", "--json"),
        home=home,
    )
    benched = json.loads(told.stdout)
    (figures,) = benched["figures"]
    assert figures["read_rate"] > 10 and not figures["writes"]
    assert benched["applied"] and benched["eligible"] == ["llama_cpp"]
    assert set(benched) <= set(Benched.__struct_fields__)
    assert (home / "profiles.json").stat().st_size < 4096
