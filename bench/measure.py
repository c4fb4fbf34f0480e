"""Measures this house on this machine, and prints a Markdown table.

    python bench/measure.py --home DIR [--peer llama-server:PATH] [--runs 5]

DIR is a home with `smollm2:135m` pulled. With a peer, the same `llama-server` executable is
measured bare and behind the house, interleaved, so that the difference is the house alone.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
from streams import Stream, Target, spread

MODEL = "smollm2:135m"
SHORT = "The most important thing about houses is"
WORDS = "the old house on the hill had many rooms and in every room somebody was reading "


def long_prompt(salt: str, tokens: int) -> str:
    """About so many tokens, unlike any other from its first word on."""
    return f"{salt} " + WORDS * (tokens // 16)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, path: str, process: subprocess.Popen[bytes]) -> float:
    """Seconds until the server answers."""
    started = time.perf_counter()
    while time.perf_counter() - started < 120:
        if process.poll() is not None:
            raise RuntimeError(f"a server ended at once with {process.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1) as answer:
                if answer.status == 200:
                    return time.perf_counter() - started
        except OSError:
            time.sleep(0.01)
    raise RuntimeError("a server does not answer")


@contextlib.contextmanager
def running(argv: list[str], env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        argv,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()


def plain_environment() -> dict[str, str]:
    """This shell's, without what it says to our servers; and with bytecode kept, as an installed
    program has it: else every start would compile all of Python."""
    others = ("DIMORA_", "OLLAMA_", "PYTHONDONTWRITEBYTECODE")
    return {n: v for n, v in os.environ.items() if not n.startswith(others)}


@contextlib.contextmanager
def house(
    home: Path, engine: str, parallel: int, peer: str = "none"
) -> Iterator[tuple[Target, float, int]]:
    """A server of ours: the target, seconds to its first healthy answer, its process id."""
    port = free_port()
    env = plain_environment() | {
        "DIMORA_HOME": str(home),
        "DIMORA_HOST": f"127.0.0.1:{port}",
        "DIMORA_ENGINE": engine,
        "DIMORA_NUM_PARALLEL": str(parallel),
        "DIMORA_KEEP_ALIVE": "-1",
        "DIMORA_LLAMA_SERVER": peer,
    }
    with running([sys.executable, "-m", "dimora", "serve"], env) as process:
        seconds = wait_for(port, "/health", process)
        yield Target(f"dimora/{engine}", port, MODEL), seconds, process.pid


@contextlib.contextmanager
def bare_llama_server(executable: str, weights: Path, parallel: int) -> Iterator[Target]:
    port = free_port()
    argv = [
        executable, "-m", str(weights), "--host", "127.0.0.1", "--port", str(port),
        "-c", str(4096 * parallel), "-np", str(parallel),
        "-t", str(psutil.cpu_count(logical=False)),
    ]  # fmt: skip
    with running(argv, dict(os.environ)) as process:
        wait_for(port, "/health", process)
        yield Target("llama-server", port, "x", extra={"cache_prompt": True})


def family_rss_bytes(pid: int, *, children: bool) -> int:
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)] if children else [process]
    return sum(p.memory_info().rss for p in family)


def wall_seconds(argv: list[str], env: dict[str, str], runs: int) -> list[float]:
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run(argv, env=env, capture_output=True, check=True)
        times.append(time.perf_counter() - started)
    return times


def measure_program(home: Path, runs: int) -> list[str]:
    env = dict(os.environ) | {"DIMORA_HOME": str(home), "DIMORA_HOST": "127.0.0.1:1"}
    program = [sys.executable, "-m", "dimora"]
    rows = ["| the program | measured | aim |", "|---|---|---|"]
    for words, aim in (["--help"], 0.3), (["list"], 0.4):
        times = wall_seconds([*program, *words], env, runs + 2)[2:]
        rows.append(f"| `dimora {' '.join(words)}`, seconds | {spread(times)} | {aim} |")
    starts, memory = [], []
    for _ in range(runs):
        with house(home, "", 4) as (_, seconds, pid):
            starts.append(seconds)
            time.sleep(1)
            memory.append(family_rss_bytes(pid, children=True) / 1e6)
    rows.append(f"| server start to first healthy answer, seconds | {spread(starts)} | |")
    rows.append(f"| idle server, resident MB | {spread(memory)} | 150 |")
    return rows


def measure_engine(home: Path, engine: str, runs: int, peer: str) -> list[str]:
    with house(home, engine, 8, peer) as (target, _, pid):
        started = time.perf_counter()
        target.complete(SHORT, 1)
        load = time.perf_counter() - started
        target.complete(SHORT, 16)
        figures = measure_streams(target, runs)
        memory = family_rss_bytes(pid, children=True) - family_rss_bytes(pid, children=False)
    return [f"{load:.2f}", *figures, f"{memory / 1e6:.0f}"]


def measure_streams(target: Target, runs: int) -> list[str]:
    """First token of a new prompt, of the same again, one stream, eight streams."""
    first = [target.complete(long_prompt(f"f{i}", 640), 1) for i in range(runs)]
    again = [target.complete(long_prompt("f0", 640) + str(i), 1) for i in range(runs)]
    single = [target.complete(f"{i} {SHORT}", 128) for i in range(runs)]
    eight = []
    for i in range(runs):
        prompts = [long_prompt(f"e{i}{k}", 128) for k in range(8)]
        eight.append(target.together(prompts, 64)[0])
    return [
        spread([s.first_seconds * 1000 for s in first]),
        spread([s.first_seconds * 1000 for s in again]),
        spread([s.tokens_per_second for s in single]),
        spread(eight),
    ]


def measure_bare(executable: str, weights: Path, runs: int) -> list[str]:
    with bare_llama_server(executable, weights, 8) as target:
        target.complete(SHORT, 16)
        return ["", *measure_streams(target, runs), ""]


def measure_door(home: Path, weights: Path, executable: str, pairs: int) -> list[str]:
    """The same executable bare and behind the house, one after the other, pair by pair."""
    bare: list[Stream] = []
    behind: list[Stream] = []
    with (
        bare_llama_server(executable, weights, 4) as target,
        house(home, "llama_cpp", 4, executable) as (ours, _, _),
    ):
        for one in (target, ours):
            one.complete(SHORT, 32)
        for i in range(pairs):
            for one, results in ((target, bare), (ours, behind)):
                results.append(one.complete(f"{i} {SHORT}", 128))
    added = [(b.first_seconds - a.first_seconds) * 1000 for a, b in zip(bare, behind, strict=True)]
    rate = [b.tokens_per_second / a.tokens_per_second for a, b in zip(bare, behind, strict=True)]
    return [
        "| the door, against the same llama-server bare | measured | aim |",
        "|---|---|---|",
        f"| added to the first token, ms, {pairs} pairs | {spread(added)} | 3 |",
        f"| tokens/s behind the house / bare | {spread(rate)} | 0.97 |",
    ]


def machine() -> str:
    model = ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    memory = psutil.virtual_memory().total / 2**30
    return f"{model}, {psutil.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--peer", default="", help="llama-server:PATH")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    executable = arguments.peer.removeprefix("llama-server:")
    from dimora.models.store import ModelStore

    store = ModelStore(arguments.home / "models", cache_path=arguments.home / "cache")
    weights = Path(store.verified_files(store.find(MODEL)).weights)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    lines = [f"Machine: {machine()}. Commit {commit.stdout.strip() or 'unknown'}. "
             f"{arguments.runs} runs, median (least-most)."]  # fmt: skip
    lines += ["", *measure_program(arguments.home, arguments.runs), ""]
    lines += [
        "| engine | load + 1st token s | first token, 640 new tokens, ms | the same again, ms |"
        " 1 stream tokens/s | 8 streams tokens/s | worker MB |",
        "|---|---|---|---|---|---|---|",
    ]
    engines = ["llama_cpp", "openvino"]
    for engine in engines:
        row = measure_engine(arguments.home, engine, arguments.runs, "none")
        lines.append(f"| {engine} | " + " | ".join(row) + " |")
    if executable:
        row = measure_engine(arguments.home, "llama_cpp", arguments.runs, executable)
        lines.append("| llama_cpp, native executable | " + " | ".join(row) + " |")
        row = measure_bare(executable, weights, arguments.runs)
        lines.append("| (bare native llama-server) | " + " | ".join(row) + " |")
        lines += [
            "",
            *measure_door(arguments.home, weights, executable, max(arguments.runs * 3, 15)),
        ]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
