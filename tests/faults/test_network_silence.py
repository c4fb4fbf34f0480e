"""Nothing but a pull opens a connection to the outside."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.conftest import environment, free_port

MODEL = "smollm2:135m"


@pytest.fixture
def strace() -> str:
    path = shutil.which("strace")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("strace is needed in CI")
        pytest.skip("strace is not installed: the silence of the network is not watched")
    return path


@pytest.mark.parametrize("engine", ["llama_cpp", "openvino"])
def test_start_chat_and_idle_open_no_connection_to_the_outside(strace, home, tmp_path, engine):
    """Every connect, sendto and bind of server and workers, as the kernel saw them."""
    trace = tmp_path / "trace"
    port = free_port()
    process = subprocess.Popen(
        [
            strace, "-f", "-qq", "--seccomp-bpf",
            "-e", "trace=connect,sendto,sendmsg,bind", "-o", str(trace),
            sys.executable, "-m", "dimora", "serve",
        ],
        env=environment(home, DIMORA_HOST=f"127.0.0.1:{port}", DIMORA_ENGINE=engine),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait(port)
        _chat(port)
        time.sleep(3)
    finally:
        # strace ends when the program it watches does.
        for child in psutil.Process(process.pid).children():
            child.terminate()
        process.wait(30)
    calls = trace.read_text().splitlines()
    internet = [c for c in calls if "AF_INET" in c]
    outside = [c for c in internet if "127.0.0.1" not in c and '"::1"' not in c]
    assert outside == []
    binds = [c for c in internet if "bind(" in c]
    assert len(binds) == 1, "one port is open: ours"
    assert f"htons({port})" in binds[0]
    assert [c for c in internet if "connect(" in c] == []


def _wait(port: int) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail("the server did not start under strace")


def _chat(port: int) -> None:
    asked = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Hi"}],
        "options": {"num_predict": 8},
        "stream": False,
    }
    body = json.dumps(asked).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/chat", body)
    with urllib.request.urlopen(request, timeout=120) as answer:
        assert answer.status == 200


def test_no_engine_opens_a_port_and_its_socket_is_private(make_server):
    server = make_server(DIMORA_ENGINE="llama_cpp")
    body = json.dumps({"model": MODEL, "prompt": "x", "stream": False}).encode()
    urllib.request.urlopen(f"{server.url}/api/generate", body, timeout=60).read()
    family = psutil.Process(server.process.pid).children(recursive=True)
    assert family
    assert [c for p in family for c in p.net_connections(kind="inet")] == []
    sockets = {
        c.laddr for p in family for c in p.net_connections(kind="unix") if c.laddr.endswith(".sock")
    }
    assert sockets
    for path in sockets:
        assert stat.S_IMODE(Path(path).parent.stat().st_mode) == 0o700
