"""Compares this house with other servers, pair by pair in one run, and prints Markdown tables.

    python bench/compare.py --peer llama-server:PATH --model FILE.gguf --home DIR --out FILE.md

A `llama-server` is started here with the same file, as many answers at a time, as much context for
each and as many threads as ours. `openai:URL`, `vllm:URL` and `ollama:URL` are servers that run
already and know the model by `--peer-model`; how many answers they give at a time is their own
affair, and their start and memory are not measured. `--peer` may be given several times.
The works `embed` and `embed-few` want the file of a model that makes vectors.
Servers take turns, and only one computes at a time.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from pairs import LEAST_PAIRS, Reading, row
from plot import line_plot
from servers import Running, dimora, family_rss_bytes, llama_server, machine, program
from streams import OllamaTarget, Target
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

from dimora.models.store import ModelStore

NAME = "compared"
ATTEMPTS = 3
# In the plot; longer answers would take a slow peer an hour.
CURVE_TOKENS = 64
ROOFLINE_RUNS = 5
ENDS = ("<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|endoftext|>", "<|end|>", "</s>")
KINDS = {"llama-server": "PATH", "openai": "URL", "vllm": "URL", "ollama": "URL"}


class Peer(NamedTuple):
    """Whom we are held against: a kind, and a path or an address. `key` is what it asks for."""

    kind: str
    where: str
    model: str = ""
    key: str = ""

    @property
    def is_started_here(self) -> bool:
        return self.kind == "llama-server"

    def __str__(self) -> str:
        return self.kind if self.is_started_here else f"{self.kind} at {self.where}"


class Started(NamedTuple):
    """`pid` is 0 of a server that ran already."""

    target: Target
    pid: int = 0


class Servers:
    """Starts those that are compared, for a number of answers at a time. The model is a file, or
    the name of one in our home."""

    def __init__(self, home: Path, model: str, peers: list[Peer], engine: str = "") -> None:
        self.peers = peers
        self._home, self._engine = home, engine
        if Path(model).is_file():
            self.weights, self._name = Path(model), NAME
            self._create()
        else:
            store = ModelStore(home / "models", cache_path=home / "cache")
            self.weights = Path(store.verified_files(store.find(model)).weights)
            self._name = model
        self._bias = bias_against_ends(self.weights)

    def _create(self) -> None:
        """The model in our home, by the name NAME."""
        with tempfile.NamedTemporaryFile("w", suffix=".Modelfile") as file:
            file.write(f"FROM {self.weights.resolve()}\n")
            file.flush()
            program(self._home, "create", NAME, "-f", file.name)

    @contextlib.contextmanager
    def all(self, slots: int, context: int, embeds: bool = False) -> Iterator[list[Target]]:
        """Ours first, and then the peers in their order."""
        with contextlib.ExitStack() as started:
            sides = [self.ours(slots, context)]
            sides += [self.theirs(peer, slots, context, embeds) for peer in self.peers]
            yield [started.enter_context(side).target for side in sides]

    @contextlib.contextmanager
    def ours(self, slots: int, context: int) -> Iterator[Started]:
        with dimora(
            self._home,
            engine=self._engine,
            num_parallel=slots,
            context_length=context,
            max_queue_per_workspace=0,
        ) as server:
            yield self._started("dimora", server, self._name)

    @contextlib.contextmanager
    def theirs(
        self, peer: Peer, slots: int, context: int, embeds: bool = False
    ) -> Iterator[Started]:
        if peer.kind == "ollama":
            options: dict[str, object] = {"num_ctx": context}
            yield Started(OllamaTarget("ollama", peer.where, peer.model, peer.key, options))
        elif not peer.is_started_here:
            extra: dict[str, object] = {"logit_bias": self._bias}
            yield Started(Target(peer.kind, peer.where, peer.model, peer.key, extra))
        else:
            with llama_server(
                peer.where, self.weights, slots=slots, context=context, embeds=embeds
            ) as server:
                yield self._started(peer.kind, server, "x", cache_prompt=True)

    def _started(self, name: str, server: Running, model: str, **extra: object) -> Started:
        extra |= {"logit_bias": self._bias}
        return Started(Target(name, server.url, model, extra=extra), server.pid)


# Readings of one figure, a list for each target.
Sides = list[list[Reading]]


class Found(NamedTuple):
    name: str
    figure: Figure
    sides: Sides


def warm_up(target: Target, embeds: bool) -> None:
    """The model is loaded, and has been used once."""
    if embeds:
        target.embed(passages(["warm"], "up", 32))
    else:
        target.complete("Once upon a time", 8)


def compare(servers: Servers, names: list[str], runs: int, salt: str) -> Iterator[Found]:
    """Readings of each work, one server after the other, the first changing by turns."""
    for slots, context, embeds in sorted({WORKS[n].servers for n in names}):
        with servers.all(slots, context, embeds) as targets:
            for target in targets:
                warm_up(target, embeds)
            for name in [n for n in names if WORKS[n].servers == (slots, context, embeds)]:
                work = WORKS[name]
                found = [Found(name, figure, [[] for _ in targets]) for figure in work.figures]
                for run in range(runs):
                    told = measure_once(work, targets, run, f"{name}{run} {salt}")
                    for number, one in enumerate(found):
                        for side, readings in zip(one.sides, told, strict=True):
                            side.append(readings[number])
                yield from found


def measure_once(
    work: Work, targets: list[Target], run: int, salt: str
) -> list[tuple[Reading, ...]]:
    """What each target tells of each figure. Where a model stopped too early, which is no fault of
    a server, all are asked once more with another text."""
    first = run % len(targets)
    order = [*range(first, len(targets)), *range(first)]
    told: dict[int, tuple[Reading, ...]] = {}
    for attempt in range(ATTEMPTS):
        for at in order:
            told[at] = measure(work, targets[at], salt + " again" * attempt)
        readings = [told[at] for at in range(len(targets))]
        if not any(
            one.output_tokens < figure.tokens and not one.fault
            for each in readings
            for figure, one in zip(work.figures, each, strict=False)
        ):
            break
    return readings


def measure(work: Work, target: Target, salt: str) -> tuple[Reading, ...]:
    try:
        told = work.measure(target, salt)
    except RuntimeError as why:
        told = tuple(Reading(0, fault=str(why)) for _ in work.figures)
    print(target.name, salt.partition(" ")[0], *told, file=sys.stderr, flush=True)
    return told


def starts(servers: Servers, runs: int) -> Found:
    """Seconds from the start of the program to the first token; files are in the system's cache."""
    sides: Sides = [[] for _ in (0, *servers.peers)]
    for run in range(runs + 1):
        for at, start in each_alone(servers):
            began = time.perf_counter()
            with start as (target, _):
                stream = target.complete("Once upon a time", 1)
                if run:
                    took = time.perf_counter() - began
                    sides[at].append(Reading(took, stream.prompt_tokens, stream.output_tokens))
    return Found("start", START, sides)


def memories(servers: Servers, runs: int) -> Found:
    """Resident megabytes of all processes, after most of a window was used."""
    sides: Sides = [[] for _ in (0, *servers.peers)]
    for run in range(runs):
        for at, start in each_alone(servers):
            with start as (target, pid):
                stream = target.complete(words_about(f"m{run}", 3000), 16)
                held = family_rss_bytes(pid, children=True) / 1e6
                sides[at].append(Reading(held, stream.prompt_tokens, stream.output_tokens))
    return Found("memory", MEMORY, sides)


def each_alone(servers: Servers) -> Iterator[tuple[int, AbstractContextManager[Started]]]:
    """Every server that is started here, by itself, with one window; and its place in the order."""
    yield 0, servers.ours(1, CONTEXT)
    for at, peer in enumerate(servers.peers, start=1):
        if peer.is_started_here:
            yield at, servers.theirs(peer, 1, CONTEXT)


def by_clients(
    servers: Servers, counts: list[int], salt: str
) -> dict[str, list[tuple[float, float]]]:
    """Tokens per second in all for each number of clients, the middle of three; a number at which
    answers were cut short has no point."""
    names = ["dimora", *map(str, servers.peers)]
    curves: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    with servers.all(max(counts), 512) as targets:
        for target in targets:
            warm_up(target, False)
        for count in counts:
            ask = together(count, 60, CURVE_TOKENS)
            for target, name in zip(targets, names, strict=True):
                told = [ask(target, f"c{count} {run} {salt}")[0] for run in range(3)]
                if min(one.output_tokens for one in told) >= CURVE_TOKENS:
                    curves[name].append((count, statistics.median(one.value for one in told)))
    return curves


def roofline(weights: Path, found: list[Found]) -> str:
    """What share of the memory's speed one stream reaches, if each token reads the whole file."""
    streams = [one.sides for one in found if one.name == "stream"]
    if not streams:
        return ""
    from dimora.runtime.bandwidth import measure as measure_bandwidth

    # The best of several: a neighbour may take a third of it for a second.
    bandwidth = max(measure_bandwidth() for _ in range(ROOFLINE_RUNS))
    size = weights.stat().st_size
    shares = [
        f"{statistics.median(reading.value for reading in side) * size / bandwidth:.0%}"
        for side in streams[0]
    ]
    return (
        f"Memory read at {bandwidth / 1e9:.1f} GB/s; a token reads {size / 1e6:.0f} MB of weights: "
        f"at most {bandwidth / size:.0f} tokens/s. Reached: {shares[0]} by us, "
        f"{', '.join(shares[1:])} by the peer."
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


class Report:
    """A table for each peer, written after every work, so that a run that is broken off leaves what
    it found."""

    def __init__(self, title: str, peers: list[Peer], out: Path | None) -> None:
        self._title, self._peers, self._out = title, peers, out
        self.found: list[Found] = []
        self.last = ""

    def add(self, found: Found) -> None:
        self.found.append(found)
        self.write()

    def write(self) -> None:
        if self._out:
            self._out.write_text(str(self))

    def __str__(self) -> str:
        lines = [self._title]
        for at, peer in enumerate(self._peers, start=1):
            lines += ["", f"Beside {peer}:", ""]
            lines += [
                "| work | aim | ours | peer | ratio (spread) | met |",
                "|---|---|---|---|---|---|",
            ]
            for one in self.found:
                figure = one.figure
                if one.sides[at]:
                    ours, theirs = one.sides[0], one.sides[at]
                    lines.append(
                        row(figure.title, figure.unit, figure.aim, ours, theirs, figure.tokens)
                    )
        return "\n".join([*lines, "", self.last]) + "\n"


def peers_of(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> list[Peer]:
    peers = []
    for told in arguments.peer:
        kind, _, where = told.partition(":")
        if kind not in KINDS:
            parser.error(f"--peer {told}: it begins with {', '.join(f'{k}:' for k in KINDS)}")
        if KINDS[kind] == "PATH" and not Path(where).is_file():
            parser.error(f"--peer {told}: no such file")
        if KINDS[kind] == "URL" and not where.startswith(("http://", "https://")):
            parser.error(f"--peer {told}: the address begins with http:// or https://")
        if KINDS[kind] == "URL" and not arguments.peer_model:
            parser.error(f"--peer {told}: --peer-model says what the model is called there")
        key = os.environ.get(arguments.peer_key_env, "")
        peers.append(Peer(kind, where, arguments.peer_model, key))
    return peers


def parser() -> argparse.ArgumentParser:
    reader = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = ", ".join(f"{kind}:{place}" for kind, place in KINDS.items())
    reader.add_argument("--peer", action="append", required=True, help=kinds)
    reader.add_argument("--peer-model", default="", help="the model's name at peers that run")
    reader.add_argument(
        "--peer-key-env", default="PEER_API_KEY", help="the variable with the key they ask for"
    )
    reader.add_argument("--model", required=True, help="a GGUF file, or a model in that home")
    reader.add_argument("--home", type=Path, required=True)
    reader.add_argument("--engine", default="", help="pins our engine")
    reader.add_argument("--work", default=",".join([*USUAL, "start", "memory"]))
    reader.add_argument("--runs", type=int, default=LEAST_PAIRS)
    reader.add_argument("--clients", default="", help="1,2,4,... for the plot")
    reader.add_argument(
        "--salt", default=secrets.token_hex(3), help="texts are drawn by it; another for each run"
    )
    reader.add_argument("--out", type=Path)
    return reader


def main() -> None:
    reader = parser()
    arguments = reader.parse_args()
    asked = [name for name in arguments.work.split(",") if name]
    unknown = set(asked) - {*WORKS, "start", "memory"}
    if unknown:
        reader.error(f"unknown work: {', '.join(sorted(unknown))}")
    peers = peers_of(reader, arguments)
    servers = Servers(arguments.home, arguments.model, peers, arguments.engine)
    title = f"{arguments.model}, {arguments.runs} pairs, salt {arguments.salt}. {machine()}."
    report = Report(title, peers, arguments.out)
    works = [name for name in asked if name in WORKS]
    for found in compare(servers, works, arguments.runs, arguments.salt):
        report.add(found)
    if "start" in asked:
        report.add(starts(servers, arguments.runs))
    if "memory" in asked:
        report.add(memories(servers, arguments.runs))
    report.last = roofline(servers.weights, report.found)
    report.write()
    print(report)
    if arguments.clients:
        counts = [int(n) for n in arguments.clients.split(",")]
        curves = by_clients(servers, counts, arguments.salt)
        plot = line_plot(curves, title=f"tokens/s in all by number of clients, {arguments.model}")
        (arguments.out or Path("compare.md")).with_suffix(".svg").write_text(plot)
        print(curves)


if __name__ == "__main__":
    main()
