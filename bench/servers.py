"""Starts the servers that are measured, on the loopback, and says what they run on."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from dimora.core.processor import processor_name, usable_cores

_PATIENCE_SECONDS = 120
_END_SECONDS = 15
_TOLD_BYTES = 2000


class Running(NamedTuple):
    """A server, and the seconds from its start to its first healthy answer."""

    port: int
    pid: int
    seconds: float

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def plain_environment() -> dict[str, str]:
    """This shell's, without what it says to our servers; and with bytecode kept, as an installed
    program has it: else every start would compile all of Python."""
    others = ("DIMORA_", "OLLAMA_", "PYTHONDONTWRITEBYTECODE")
    return {n: v for n, v in os.environ.items() if not n.startswith(others)}


def program(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run our program in that home, without a server. Raises RuntimeError with what it said when it
    fails."""
    env = plain_environment() | {"DIMORA_HOME": str(home), "DIMORA_HOST": "127.0.0.1:1"}
    argv = [sys.executable, "-m", "dimora", *words]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"dimora {' '.join(words)}: {done.stderr.strip()}")
    return done


@contextlib.contextmanager
def dimora(home: Path, **settings: object) -> Iterator[Running]:
    """A server of ours with these settings, such as `num_parallel=8`."""
    port = free_port()
    told = {f"DIMORA_{name.upper()}": str(value) for name, value in settings.items()}
    env = plain_environment() | {"DIMORA_HOME": str(home), "DIMORA_KEEP_ALIVE": "-1"} | told
    env["DIMORA_HOST"] = f"127.0.0.1:{port}"
    with _serving([sys.executable, "-m", "dimora", "serve"], env, port) as server:
        yield server


@contextlib.contextmanager
def llama_server(
    executable: str, weights: Path, *, slots: int, context: int, embeds: bool = False
) -> Iterator[Running]:
    """One with its own defaults, on as many cores as ours, and with `context` tokens for each of
    `slots` answers at a time."""
    port = free_port()
    argv = [
        executable, "-m", str(weights), "--host", "127.0.0.1", "--port", str(port),
        "-c", str(context * slots), "-np", str(slots), "-t", str(usable_cores()),
    ]  # fmt: skip
    if embeds:
        argv += ["--embeddings", "-b", str(context * slots), "-ub", str(context * slots)]
    with _serving(argv, dict(os.environ), port) as server:
        yield server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _serving(argv: list[str], env: dict[str, str], port: int) -> Iterator[Running]:
    """Raises RuntimeError with the last words of a server that does not come up."""
    with _told_to_end(), tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            argv, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
        )
        try:
            seconds = _wait_for(f"http://127.0.0.1:{port}/health", process)
            if seconds is None:
                said.seek(max(0, said.seek(0, os.SEEK_END) - _TOLD_BYTES))
                last = said.read().decode(errors="replace")
                raise RuntimeError(f"{argv[0]} does not answer; its last words:\n{last}")
            yield Running(port, process.pid, seconds)
        finally:
            process.terminate()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def _told_to_end() -> Iterator[None]:
    """A measurement that is asked to end (SIGTERM) leaves as one that ends by itself does: without
    servers that nobody uses."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> float | None:
    """Seconds until the server answers, None when it has ended or does not."""
    started = time.perf_counter()
    while time.perf_counter() - started < _PATIENCE_SECONDS and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return time.perf_counter() - started
        except OSError:
            time.sleep(0.01)
    return None


def family_rss_bytes(pid: int, *, children: bool) -> int:
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)] if children else [process]
    return sum(p.memory_info().rss for p in family)


def machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    return f"{processor_name()}, {memory:.0f} GiB, {platform.system()}"
