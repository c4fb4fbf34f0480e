"""Compares this house with other servers, pair by pair in one run, and prints a Markdown table.

    python bench/compare.py --peer llama-server:PATH --model FILE.gguf --home DIR --out FILE.md

A `llama-server` is started here with the same file, as many answers at a time, and as much context
for each. `openai:URL`, `vllm:URL` and `ollama:URL` are servers that run already and know the model
by `--peer-model`. The works `embed` and `embed-few` want the file of a model that makes vectors.
Both speak /v1/completions (and /v1/chat/completions where JSON by a schema is
asked for) with streaming; they take turns, and only one computes at a time.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import psutil
from measure import (
    WORDS,
    family_rss_bytes,
    free_port,
    machine,
    plain_environment,
    running,
    wait_for,
)
from pairs import LEAST_PAIRS, Reading, row
from plot import line_plot
from streams import Target
from works import (
    CONTEXT,
    MEMORY,
    START,
    USUAL,
    WORKS,
    Figure,
    Work,
    passages,
    together,
    words_about,
)

NAME = "compared"
ATTEMPTS = 3
ENDS = ("<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|endoftext|>", "<|end|>", "</s>")


class Servers:
    """Starts the two that are compared, for a number of answers at a time."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._home: Path = arguments.home
        self._engine: str = arguments.engine
        self._weights: Path = arguments.model
        self._kind, _, self._where = arguments.peer.partition(":")
        self._peer_model: str = arguments.peer_model
        self._bias = bias_against_ends(self._weights)
        self._env = plain_environment() | {"DIMORA_HOME": str(self._home)}

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
            yield Target("dimora", port, NAME, extra={"logit_bias": self._bias}), process.pid

    @contextlib.contextmanager
    def theirs(
        self, slots: int, context: int, embeds: bool = False
    ) -> Iterator[tuple[Target, int]]:
        if self._kind != "llama-server":
            url = urllib.parse.urlsplit(self._where)
            host, port = url.hostname or "127.0.0.1", url.port or 80
            extra: dict[str, object] = {"logit_bias": self._bias}
            yield Target(self._kind, port, self._peer_model, host=host, extra=extra), 0
            return
        port = free_port()
        argv = [
            self._where, "-m", str(self._weights), "--host", "127.0.0.1", "--port", str(port),
            "-c", str(context * slots), "-np", str(slots),
            "-t", str(psutil.cpu_count(logical=False)),
        ]  # fmt: skip
        if embeds:
            argv += ["--embeddings", "-b", str(context * slots), "-ub", str(context * slots)]
        with running(argv, dict(os.environ)) as process:
            wait_for(port, "/health", process)
            extra = {"cache_prompt": True, "logit_bias": self._bias}
            yield Target("llama-server", port, "x", extra=extra), process.pid


Sides = tuple[list[Reading], list[Reading]]


def warm_up(target: Target, embeds: bool) -> None:
    """The model is loaded, and has been used once."""
    if embeds:
        target.embed(passages(WORDS.split(), "warm", 32))
    else:
        target.complete("Once upon a time", 8)


Found = tuple[str, Figure, Sides]


def compare(servers: Servers, names: list[str], runs: int) -> Iterator[Found]:
    """Readings of each work, ours and theirs, one after the other, the first changing by turns."""
    for slots, context, embeds in sorted({WORKS[n].servers for n in names}):
        with (
            servers.ours(slots, context) as (us, _),
            servers.theirs(slots, context, embeds) as (peer, _),
        ):
            for target in (us, peer):
                warm_up(target, embeds)
            for name in [n for n in names if WORKS[n].servers == (slots, context, embeds)]:
                work = WORKS[name]
                rows: list[Found] = [(name, figure, ([], [])) for figure in work.figures]
                for run in range(runs):
                    order = (0, 1) if run % 2 else (1, 0)
                    for number, pair in enumerate(measure_pair(work, (us, peer), order, name, run)):
                        for side, reading in zip(rows[number][2], pair, strict=True):
                            side.append(reading)
                yield from rows


def measure_pair(
    work: Work, targets: tuple[Target, Target], order: tuple[int, ...], name: str, run: int
) -> list[tuple[Reading, ...]]:
    """Our reading and theirs of each figure. Where a model stopped too early, which is no fault of
    a server, both are asked once more with another text."""
    for attempt in range(ATTEMPTS):
        told: dict[int, tuple[Reading, ...]] = {}
        for side in order:
            told[side] = work.measure(targets[side], f"{name}{run}" + "again" * attempt)
            print(f"{name} {targets[side].name} {told[side]}", file=sys.stderr, flush=True)
        count = len(work.figures)
        pairs = list(zip(told[0][:count], told[1][:count], strict=True))
        if all(
            min(one.output_tokens for one in pair) >= figure.tokens
            for figure, pair in zip(work.figures, pairs, strict=True)
        ):
            break
    return pairs


def starts(servers: Servers, runs: int) -> Sides:
    """Seconds from the start of the program to the first token; files are in the system's cache."""
    sides: Sides = ([], [])
    for run in range(runs + 1):
        for side, start in zip(sides, (servers.ours, servers.theirs), strict=True):
            began = time.perf_counter()
            with start(1, CONTEXT) as (target, _):
                stream = target.complete("Once upon a time", 1)
                if run:
                    took = time.perf_counter() - began
                    side.append(Reading(took, stream.prompt_tokens, stream.output_tokens))
    return sides


def memories(servers: Servers, runs: int) -> Sides:
    """Resident megabytes of all processes, after most of a window was used."""
    sides: Sides = ([], [])
    for run in range(runs):
        for side, start in zip(sides, (servers.ours, servers.theirs), strict=True):
            with start(1, CONTEXT) as (target, pid):
                stream = target.complete(words_about(f"m{run}", 3000), 16)
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
            measure = together(count, 60, 64)  # Longer ones would take the slower peer an hour.
            for target, curve in zip((us, peer), curves, strict=True):
                values = sorted(measure(target, f"c{count}{run}")[0].value for run in range(3))
                curve.append((count, values[1]))
    return curves


def roofline(weights: Path, found: list[Found]) -> str:
    """What share of the memory's speed one stream reaches, if each token reads the whole file."""
    streams = [sides for name, _, sides in found if name == "stream"]
    if not streams:
        return ""
    from dimora.runtime.bandwidth import measure

    bandwidth = measure()
    size = weights.stat().st_size
    shares = [
        statistics.median(reading.value for reading in side) * size / bandwidth
        for side in streams[0]
    ]
    return (
        f"Memory read at {bandwidth / 1e9:.1f} GB/s; a token reads {size / 1e6:.0f} MB of weights: "
        f"at most {bandwidth / size:.0f} tokens/s. Reached: {shares[0]:.0%} by us, "
        f"{shares[1]:.0%} by the peer."
    )


def bias_against_ends(weights: Path) -> dict[str, int]:
    """Tokens that end an answer, made impossible: all are to write as much."""
    from gguf import GGUFReader

    fields = GGUFReader(weights).fields
    words = fields["tokenizer.ggml.tokens"].contents()
    ends = {index for index, word in enumerate(words) if word in ENDS}
    if eos := fields.get("tokenizer.ggml.eos_token_id"):
        ends.add(int(eos.contents()))
    return {str(id_): -100 for id_ in sorted(ends)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", required=True, help="llama-server:PATH or openai:URL")
    parser.add_argument("--peer-model", default="", help="the model's name at a peer that runs")
    parser.add_argument("--model", type=Path, required=True, help="a GGUF file")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--engine", default="", help="pins our engine")
    parser.add_argument("--work", default=",".join([*USUAL, "start", "memory"]))
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
    head = [
        f"{arguments.model.name}, {arguments.runs} pairs. {machine()}.",
        "",
        "| work | aim | ours | peer | ratio (spread) | met |",
        "|---|---|---|---|---|---|",
    ]
    found: list[Found] = []
    rows: list[str] = []

    def tell(*last: str) -> None:
        # After every work, so that a run that is broken off leaves what it found.
        if arguments.out:
            arguments.out.write_text("\n".join([*head, *rows, *last]) + "\n")

    def add(figure: Figure, sides: Sides) -> None:
        rows.append(row(figure.title, figure.unit, figure.aim, *sides, figure.tokens))
        tell()

    for one in compare(servers, [name for name in asked if name in WORKS], arguments.runs):
        found.append(one)
        add(*one[1:])
    if "start" in asked:
        add(START, starts(servers, arguments.runs))
    if "memory" in asked and arguments.peer.startswith("llama-server:"):
        add(MEMORY, memories(servers, arguments.runs))
    last = roofline(arguments.model, found)
    tell("", last)
    print("\n".join([*head, *rows, "", last]))
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
