"""Compares this house with other servers, pair by pair in one run, and prints a Markdown table.

    python bench/compare.py --peer llama-server:PATH --model FILE.gguf --home DIR --out FILE.md

A `llama-server` is started here with the same file, as many answers at a time, and as much context
for each. `openai:URL`, `vllm:URL` and `ollama:URL` are servers that run already and know the model
by `--peer-model`. Both speak /v1/completions (and /v1/chat/completions where JSON by a schema is
asked for) with streaming; they take turns, and only one computes at a time.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
from measure import WORDS, family_rss_bytes, free_port, machine, running, wait_for
from pairs import LEAST_PAIRS, Aim, Reading, row
from plot import line_plot
from streams import Target

NAME = "compared"
CONTEXT = 4096
QUESTION = "\nQuestion: who lived in the house, and what did they read? Answer:"
CODE = Path(__file__).with_name("streams.py")
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 40},
        "city": {"type": "string", "maxLength": 40},
        "year": {"type": "integer", "minimum": 1900, "maximum": 2100},
        "married": {"type": "boolean"},
        "trade": {"enum": ["baker", "teacher", "farmer", "nurse"]},
    },
    "required": ["name", "city", "year", "married", "trade"],
    "additionalProperties": False,
}
FACTS = "Maria Rossi was born in Siena in 1961. She was a nurse and never married. "


class Work(NamedTuple):
    """Something people do. `measure` asks one server once; `salt` makes a prompt like no other."""

    title: str
    unit: str
    aim: Aim
    slots: int
    context: int
    asked_tokens: int
    measure: Callable[[Target, str], Reading]


def words_about(salt: str, tokens: int) -> str:
    return f"{salt} " + WORDS * (tokens // 16)


def first_token(prompt: str, target: Target) -> Reading:
    stream = target.complete(prompt, 1)
    return Reading(stream.first_seconds, stream.prompt_tokens, stream.output_tokens)


def fresh(target: Target, salt: str) -> Reading:
    return first_token(words_about(salt, 2000) + QUESTION, target)


def again(target: Target, salt: str) -> Reading:
    prefix = words_about(salt, 2000)
    target.complete(prefix + QUESTION, 1)
    return first_token(prefix + "\nNow tell me about the garden:", target)


def whole(prompt_tokens: int, tokens: int) -> Callable[[Target, str], Reading]:
    def measure(target: Target, salt: str) -> Reading:
        stream = target.complete(words_about(salt, prompt_tokens) + QUESTION, tokens)
        return Reading(stream.total_seconds, stream.prompt_tokens, stream.output_tokens)

    return measure


def one_stream(target: Target, salt: str) -> Reading:
    stream = target.complete(f"{salt} The most important thing about houses is", 256)
    return Reading(stream.tokens_per_second, stream.prompt_tokens, stream.output_tokens)


def together(clients: int, prompt_tokens: int, tokens: int) -> Callable[[Target, str], Reading]:
    def measure(target: Target, salt: str) -> Reading:
        prompts = [words_about(f"{salt}{n}", prompt_tokens) for n in range(clients)]
        rate, streams = target.together(prompts, tokens)
        read = sum(stream.prompt_tokens for stream in streams)
        return Reading(rate, read, min(stream.output_tokens for stream in streams))

    return measure


def slowest(clients: int, prompt_tokens: int, tokens: int) -> Callable[[Target, str], Reading]:
    def measure(target: Target, salt: str) -> Reading:
        prompts = [words_about(f"{salt}{n}", prompt_tokens) for n in range(clients)]
        _, streams = target.together(prompts, tokens)
        read = sum(stream.prompt_tokens for stream in streams)
        last = max(stream.first_seconds for stream in streams)
        return Reading(last, read, min(stream.output_tokens for stream in streams))

    return measure


def extraction(target: Target, salt: str) -> Reading:
    text = f"{salt} {FACTS}" + WORDS * (1000 // 16) + "\nWho is this about?"
    stream = target.extract(text, SCHEMA)
    return Reading(stream.total_seconds)


def repetition(target: Target, salt: str) -> Reading:
    code = CODE.read_text()[:2000]
    prompt = f"# {salt}\n# A file, and the same file again.\n\n{code}\n\n# The same file again.\n\n"
    stream = target.complete(prompt, 200)
    return Reading(stream.tokens_per_second, stream.prompt_tokens, stream.output_tokens)


WORKS = {
    "ttft": Work("first token of 2 000 new ones", "s", Aim(0.45, True), 1, CONTEXT, 1, fresh),
    "prefix": Work("first token, same 2 000 before", "s", Aim(1.0, True), 1, CONTEXT, 1, again),
    "rag": Work("2 000 in, 200 out", "s", Aim(0.75, True), 1, CONTEXT, 200, whole(2000, 200)),
    "stream": Work("one stream, 256 out", "tok/s", Aim(1.0, False), 1, CONTEXT, 256, one_stream),
    "repeat": Work(
        "text that repeats its input", "tok/s", Aim(1.3, False), 1, CONTEXT, 200, repetition
    ),
    "extract": Work("JSON by schema of 1 000", "s", Aim(0.7, True), 1, CONTEXT, 0, extraction),
    "eight": Work(
        "8 clients, 500 in, 128 out", "tok/s", Aim(1.8, False), 8, 1024, 128, together(8, 500, 128)
    ),
    "thirty-two": Work(
        "32 clients, 60 in, 64 out", "tok/s", Aim(2.0, False), 32, 512, 64, together(32, 60, 64)
    ),
    "slowest": Work(
        "32 clients, the slowest first token", "s", Aim(0.6, True), 32, 512, 64, slowest(32, 60, 64)
    ),
}


class Servers:
    """Starts the two that are compared, for a number of answers at a time."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._home: Path = arguments.home
        self._engine: str = arguments.engine
        self._weights: Path = arguments.model
        self._kind, _, self._where = arguments.peer.partition(":")
        self._peer_model: str = arguments.peer_model
        self._env = {
            n: v for n, v in os.environ.items() if not n.startswith(("DIMORA_", "OLLAMA_"))
        } | {"DIMORA_HOME": str(self._home)}

    def create(self) -> None:
        """The model in our home, by the name NAME."""
        with tempfile.NamedTemporaryFile("w", suffix=".Modelfile") as file:
            file.write(f"FROM {self._weights.resolve()}\n")
            file.flush()
            subprocess.run(
                [sys.executable, "-m", "dimora", "create", NAME, "-f", file.name],
                env=self._env | {"DIMORA_HOST": "127.0.0.1:1"},
                check=True,
                capture_output=True,
            )

    @contextlib.contextmanager
    def ours(self, slots: int, context: int) -> Iterator[tuple[Target, int]]:
        port = free_port()
        env = self._env | {
            "DIMORA_HOST": f"127.0.0.1:{port}",
            "DIMORA_ENGINE": self._engine,
            "DIMORA_NUM_PARALLEL": str(slots),
            "DIMORA_CONTEXT_LENGTH": str(context),
            "DIMORA_KEEP_ALIVE": "-1",
            "DIMORA_MAX_QUEUE_PER_WORKSPACE": "0",
        }
        with running([sys.executable, "-m", "dimora", "serve"], env) as process:
            wait_for(port, "/health", process)
            yield Target("dimora", port, NAME), process.pid

    @contextlib.contextmanager
    def theirs(self, slots: int, context: int) -> Iterator[tuple[Target, int]]:
        if self._kind != "llama-server":
            url = urllib.parse.urlsplit(self._where)
            host, port = url.hostname or "127.0.0.1", url.port or 80
            yield Target(self._kind, port, self._peer_model, host=host), 0
            return
        port = free_port()
        argv = [
            self._where, "-m", str(self._weights), "--host", "127.0.0.1", "--port", str(port),
            "-c", str(context * slots), "-np", str(slots),
            "-t", str(psutil.cpu_count(logical=False)),
        ]  # fmt: skip
        with running(argv, dict(os.environ)) as process:
            wait_for(port, "/health", process)
            extra: dict[str, object] = {"cache_prompt": True}
            yield Target("llama-server", port, "x", extra=extra), process.pid


def compare(
    servers: Servers, names: list[str], runs: int
) -> dict[str, tuple[list[Reading], list[Reading]]]:
    """Readings of each work, ours and theirs, one after the other, the first changing by turns."""
    found: dict[str, tuple[list[Reading], list[Reading]]] = {n: ([], []) for n in names}
    for slots, context in sorted({(WORKS[n].slots, WORKS[n].context) for n in names}):
        with servers.ours(slots, context) as (us, _), servers.theirs(slots, context) as (peer, _):
            for target in (us, peer):
                target.complete("Once upon a time", 8)
            for name in [
                n for n in names if (WORKS[n].slots, WORKS[n].context) == (slots, context)
            ]:
                for run in range(runs):
                    sides = [(us, found[name][0]), (peer, found[name][1])]
                    for target, readings in sides if run % 2 else reversed(sides):
                        readings.append(WORKS[name].measure(target, f"{name}{run}"))
                        print(f"{name} {target.name} {readings[-1]}", file=sys.stderr, flush=True)
    return found


def starts(servers: Servers, runs: int) -> tuple[list[Reading], list[Reading]]:
    """Seconds from the start of the program to the first token; files are in the system's cache."""
    sides: tuple[list[Reading], list[Reading]] = ([], [])
    for run in range(runs + 1):
        for side, start in zip(sides, (servers.ours, servers.theirs), strict=True):
            began = time.perf_counter()
            with start(1, CONTEXT) as (target, _):
                stream = target.complete("Once upon a time", 1)
                if run:
                    took = time.perf_counter() - began
                    side.append(Reading(took, stream.prompt_tokens, stream.output_tokens))
    return sides


def memories(servers: Servers, runs: int) -> tuple[list[Reading], list[Reading]]:
    """Resident megabytes of all processes, after a window full of words."""
    sides: tuple[list[Reading], list[Reading]] = ([], [])
    for run in range(runs):
        for side, start in zip(sides, (servers.ours, servers.theirs), strict=True):
            with start(1, CONTEXT) as (target, pid):
                stream = target.complete(words_about(f"m{run}", 3800), 16)
                held = family_rss_bytes(pid, children=True) / 1e6
                side.append(Reading(held, stream.prompt_tokens, stream.output_tokens))
    return sides


def by_clients(
    servers: Servers, counts: list[int]
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Tokens per second in all, for each number of clients."""
    most = max(counts)
    curves: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    with servers.ours(most, 512) as (us, _), servers.theirs(most, 512) as (peer, _):
        for target in (us, peer):
            target.complete("Once upon a time", 8)
        for count in counts:
            measure = together(count, 60, 64)
            for target, curve in zip((us, peer), curves, strict=True):
                values = sorted(measure(target, f"c{count}{run}").value for run in range(3))
                curve.append((count, values[1]))
    return curves


def roofline(weights: Path, found: dict[str, tuple[list[Reading], list[Reading]]]) -> str:
    """What share of the memory's speed one stream reaches, if each token reads the whole file."""
    if "stream" not in found:
        return ""
    from dimora.runtime.bandwidth import measure

    bandwidth = measure()
    size = weights.stat().st_size
    shares = [
        sorted(reading.value for reading in side)[len(side) // 2] * size / bandwidth
        for side in found["stream"]
    ]
    return (
        f"Memory read at {bandwidth / 1e9:.1f} GB/s; a token reads {size / 1e6:.0f} MB of weights: "
        f"at most {bandwidth / size:.0f} tokens/s. Reached: {shares[0]:.0%} by us, "
        f"{shares[1]:.0%} by the peer."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", required=True, help="llama-server:PATH or openai:URL")
    parser.add_argument("--peer-model", default="", help="the model's name at a peer that runs")
    parser.add_argument("--model", type=Path, required=True, help="a GGUF file")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--engine", default="", help="pins our engine")
    parser.add_argument("--work", default=",".join([*WORKS, "start", "memory"]))
    parser.add_argument("--runs", type=int, default=LEAST_PAIRS)
    parser.add_argument("--clients", default="", help="1,2,4,... for the plot")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    asked = [name for name in arguments.work.split(",") if name]
    unknown = set(asked) - {*WORKS, "start", "memory"}
    if unknown:
        parser.error(f"unknown work: {', '.join(sorted(unknown))}")
    servers = Servers(arguments)
    servers.create()
    found = compare(servers, [name for name in asked if name in WORKS], arguments.runs)
    rows = [
        row(w.title, w.unit, w.aim, *found[name], w.asked_tokens)
        for name, w in WORKS.items()
        if name in found
    ]
    if "start" in asked:
        sides = starts(servers, arguments.runs)
        rows.append(row("start to first token", "s", Aim(1.2, True), *sides, 1))
    if "memory" in asked and arguments.peer.startswith("llama-server:"):
        sides = memories(servers, arguments.runs)
        rows.append(row("memory, one window of 4 096", "MB", Aim(1.15, True), *sides, 1))
    text = "\n".join(
        [
            f"{arguments.model.name}, {arguments.runs} pairs. {machine()}.",
            "",
            "| work | aim | ours | peer | ratio (spread) | met |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            roofline(arguments.model, found),
        ]
    )
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    if arguments.clients:
        curves = by_clients(servers, [int(n) for n in arguments.clients.split(",")])
        plot = line_plot(
            {"dimora": curves[0], "peer": curves[1]},
            title=f"tokens/s in all by number of clients, {arguments.model.name}",
        )
        (arguments.out or Path("compare.md")).with_suffix(".svg").write_text(plot)
        print(curves)


if __name__ == "__main__":
    main()
