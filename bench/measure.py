"""Measures this house on this machine, and prints a Markdown table.

    python bench/measure.py --home DIR [--peer llama-server:PATH] [--runs 5]

DIR is a home with `smollm2:135m` pulled. With a peer, the same `llama-server` executable is
measured bare and behind the house, interleaved, so that the difference is the house alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from servers import dimora, family_rss_bytes, llama_server, machine, plain_environment
from streams import Stream, Target, spread
from works import words_about

from dimora.engines import SHELF
from dimora.engines.base import EngineSettings
from dimora.models.store import ModelStore

MODEL = "smollm2:135m"
SHORT = "The most important thing about houses is"
ENGINES = ("llama_cpp", "openvino")
CONTEXT = 4096


def wall_seconds(argv: list[str], env: dict[str, str], runs: int) -> list[float]:
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run(argv, env=env, capture_output=True, check=True)
        times.append(time.perf_counter() - started)
    return times


def measure_program(home: Path, runs: int) -> list[str]:
    env = plain_environment() | {"DIMORA_HOME": str(home), "DIMORA_HOST": "127.0.0.1:1"}
    program = [sys.executable, "-m", "dimora"]
    rows = ["| the program | measured | aim |", "|---|---|---|"]
    for words, aim in (["--help"], 0.3), (["list"], 0.4):
        times = wall_seconds([*program, *words], env, runs + 2)[2:]
        rows.append(f"| `dimora {' '.join(words)}`, seconds | {spread(times)} | {aim} |")
    starts, memory = [], []
    for _ in range(runs):
        with dimora(home, num_parallel=4) as server:
            starts.append(server.seconds)
            time.sleep(1)
            memory.append(family_rss_bytes(server.pid, children=True) / 1e6)
    rows.append(f"| server start to first healthy answer, seconds | {spread(starts)} | |")
    rows.append(f"| idle server, resident MB | {spread(memory)} | 150 |")
    return rows


def measure_engine(home: Path, engine: str, runs: int, peer: str) -> list[str]:
    with dimora(home, engine=engine, num_parallel=8, llama_server=peer) as server:
        target, pid = Target(engine, server.url, MODEL), server.pid
        started = time.perf_counter()
        target.complete(SHORT, 1)
        load = time.perf_counter() - started
        target.complete(SHORT, 16)
        figures = measure_streams(target, runs)
        memory = family_rss_bytes(pid, children=True) - family_rss_bytes(pid, children=False)
    return [f"{load:.2f}", *figures, f"{memory / 1e6:.0f}"]


def measure_streams(target: Target, runs: int) -> list[str]:
    """First token of a new prompt, of the same again, one stream, eight streams."""
    first = [target.complete(words_about(f"f{i}", 640), 1) for i in range(runs)]
    again = [target.complete(words_about("f0", 640) + str(i), 1) for i in range(runs)]
    single = [target.complete(f"{i} {SHORT}", 128) for i in range(runs)]
    eight = []
    for i in range(runs):
        prompts = [words_about(f"e{i}{k}", 128) for k in range(8)]
        eight.append(target.together(prompts, 64)[0])
    return [
        spread([s.first_seconds * 1000 for s in first]),
        spread([s.first_seconds * 1000 for s in again]),
        spread([s.tokens_per_second for s in single]),
        spread(eight),
    ]


def bare(url: str) -> Target:
    return Target("llama-server", url, "x", extra={"cache_prompt": True})


def measure_bare(executable: str, weights: Path, runs: int) -> list[str]:
    with llama_server(executable, weights, slots=8, context=CONTEXT) as server:
        target = bare(server.url)
        target.complete(SHORT, 16)
        return ["", *measure_streams(target, runs), ""]


def measure_door(home: Path, weights: Path, executable: str, pairs: int) -> list[str]:
    """The same executable bare and behind the house, one after the other, pair by pair."""
    settings = {"engine": "llama_cpp", "num_parallel": 4, "llama_server": executable}
    results: tuple[list[Stream], list[Stream]] = ([], [])
    with (
        llama_server(executable, weights, slots=4, context=CONTEXT) as theirs,
        dimora(home, **settings) as ours,
    ):
        targets = (bare(theirs.url), Target("dimora", ours.url, MODEL))
        for target in targets:
            target.complete(SHORT, 32)
        for i in range(pairs):
            for target, streams in zip(targets, results, strict=True):
                streams.append(target.complete(f"{i} {SHORT}", 128))
    both = list(zip(*results, strict=True))
    added = [(b.first_seconds - a.first_seconds) * 1000 for a, b in both]
    rate = [b.tokens_per_second / a.tokens_per_second for a, b in both]
    return [
        "| the door, against the same llama-server bare | measured | aim |",
        "|---|---|---|",
        f"| added to the first token, ms, {pairs} pairs | {spread(added)} | 3 |",
        f"| tokens/s behind the house / bare | {spread(rate)} | 0.97 |",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--peer", default="", help="llama-server:PATH")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    kind, _, executable = arguments.peer.partition(":")
    if arguments.peer and (kind != "llama-server" or not Path(executable).is_file()):
        parser.error("--peer is llama-server: and the path of an executable")
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
    for engine in ENGINES:
        if not SHELF.load(engine).offer(EngineSettings(scratch_path="")).available:
            continue
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
