"""Uses a server for a long time in many ways at once, and looks whether it grows.

    python bench/soak.py --home DIR [--minutes 30] [--engine openvino] [--out FILE.md]

DIR is a home with `smollm2:135m` and `multilingual-e5-small` pulled. The server is started here, on
loopback, with two workspaces. After a quarter of the time, which is for warming up, memory,
descriptors, threads and processes are held against a straight line (least squares); the end is 1
when one of them grows by more than its bound over what remains.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import secrets
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

import psutil
from measure import MODEL
from servers import dimora

WORDS = "the old house on the hill had many rooms and in every room somebody was reading "
EMBEDDER = "multilingual-e5-small"
SAMPLE_SECONDS = 2.0
WARMING = 0.25
MIB = 2**20
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
# What each may grow by over the measured time: a share of its mean, and a number beside it, which
# is the noise of an allocator or of clients that come and go.
BOUNDS = {
    "memory of the server, MiB": (0.02, 2.0),
    "memory of its workers, MiB": (0.02, 8.0),
    "descriptors": (0.0, 4.0),
    "threads": (0.0, 4.0),
    "processes": (0.0, 0.5),
}


@dataclass
class Load:
    """Clients that go on until told; what they asked and what came wrong is counted."""

    port: int
    keys: list[str]
    ended: threading.Event = field(default_factory=threading.Event)
    asked: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)

    def client(self, number: int) -> None:
        chance = random.Random(number)
        key = self.keys[number % len(self.keys)]
        while not self.ended.is_set():
            work = chance.choice(WORKS)
            name = work.__name__
            try:
                told = work(Caller(self.port, key), chance)
            except (OSError, http.client.HTTPException, ValueError) as why:
                told = type(why).__name__
            self.asked[name] += 1
            if told:
                self.wrong[f"{name}: {told}"] += 1
                # A server that refuses is not asked the faster for it.
                self.ended.wait(0.2)


@dataclass
class Caller:
    port: int
    key: str

    def send(self, method: str, path: str, body: object) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        content = body if isinstance(body, str) else json.dumps(body) if body else None
        connection.request(method, path, content, headers)
        return connection

    def ask(self, path: str, body: object = None, *, expect: int = 200) -> str:
        """Empty when the answer has this status, and is whole."""
        connection = self.send("POST" if body else "GET", path, body)
        try:
            answer = connection.getresponse()
            answer.read()
            # Refused for now is an answer too: the queue is bounded.
            return "" if answer.status in (expect, 429) else str(answer.status)
        finally:
            connection.close()


def short_chat(caller: Caller, chance: random.Random) -> str:
    words = [{"role": "user", "content": f"Say {chance.random()} in words."}]
    options = {"num_predict": chance.randint(4, 40)}
    return caller.ask("/api/chat", {"model": MODEL, "messages": words, "options": options})


def long_prompt(caller: Caller, chance: random.Random) -> str:
    prompt = f"{chance.randint(0, 5)} " + WORDS * chance.randint(10, 40) + str(chance.random())
    return caller.ask("/v1/completions", {"model": MODEL, "prompt": prompt, "max_tokens": 8})


def left_stream(caller: Caller, chance: random.Random) -> str:
    body = {"model": MODEL, "prompt": f"{chance.random()} Once", "options": {"num_predict": 400}}
    connection = caller.send("POST", "/api/generate", body)
    try:
        if chance.random() < 0.5:
            connection.getresponse().readline()
        return ""
    finally:
        connection.close()


def vectors(caller: Caller, chance: random.Random) -> str:
    texts = [f"passage: {chance.random()} {WORDS}" for _ in range(chance.randint(1, 8))]
    return caller.ask("/v1/embeddings", {"model": EMBEDDER, "input": texts})


def an_object(caller: Caller, chance: random.Random) -> str:
    body = {"model": MODEL, "prompt": f"{chance.random()} JSON of a person:", "format": SCHEMA}
    return caller.ask("/api/generate", body | {"stream": False, "options": {"num_predict": 60}})


def tokens(caller: Caller, chance: random.Random) -> str:
    return caller.ask("/api/tokenize", {"model": MODEL, "text": WORDS * chance.randint(1, 20)})


def looks(caller: Caller, chance: random.Random) -> str:
    paths = [("/api/tags", None), ("/api/ps", None), ("/api/show", {"model": MODEL})]
    return caller.ask(*chance.choice(paths))


def nonsense(caller: Caller, chance: random.Random) -> str:
    if chance.random() < 0.5:
        return caller.ask("/api/chat", "{no json", expect=400)
    return caller.ask("/api/chat", {"model": "nobody", "messages": []}, expect=404)


WORKS: list[Callable[[Caller, random.Random], str]] = [
    *(short_chat, long_prompt, left_stream, vectors, an_object, tokens, looks, nonsense),
]


def sample(process: psutil.Process) -> tuple[float, ...]:
    """In the order of BOUNDS; of the server alone, and of all that it started."""
    workers = process.children(recursive=True)
    family = [process, *workers]
    return (
        process.memory_info().rss / MIB,
        sum(worker.memory_info().rss for worker in workers) / MIB,
        sum(one.num_fds() for one in family),
        sum(one.num_threads() for one in family),
        len(family),
    )


def growth(times: list[float], values: list[float]) -> float:
    """By least squares, from the first to the last."""
    middle, level = mean(times), mean(values)
    over = sum((t - middle) ** 2 for t in times)
    slope = sum((t - middle) * (v - level) for t, v in zip(times, values, strict=True)) / over
    return slope * (times[-1] - times[0])


def verdicts(samples: list[tuple[float, ...]]) -> tuple[list[str], bool]:
    """Lines of a table, and whether all stayed within their bounds."""
    times = [one[0] for one in samples]
    rows = ["| what | first | last | mean | grown by | bound | |", "|---|---|---|---|---|---|---|"]
    good = True
    for column, (name, (share, beside)) in enumerate(BOUNDS.items(), start=1):
        values = [one[column] for one in samples]
        grown, bound = growth(times, values), share * mean(values) + beside
        good &= grown <= bound
        said = "flat" if grown <= bound else "GROWS"
        rows.append(f"| {name} | {values[0]:.1f} | {values[-1]:.1f} | {mean(values):.1f} "
                    f"| {grown:+.2f} | {bound:.2f} | {said} |")  # fmt: skip
    return rows, good


def soak(arguments: argparse.Namespace, config: Path) -> tuple[list[str], bool]:
    keys = [secrets.token_hex(16) for _ in range(2)]
    tables = (
        f'[[api_keys]]\nuser = "{name}"\nkey = "{key}"\nworkspace = "{name}"\nrole = "owner"\n'
        for name, key in zip(("one", "two"), keys, strict=True)
    )
    config.touch(mode=0o600)
    config.write_text("\n".join(tables))
    samples: list[tuple[float, ...]] = []
    with dimora(arguments.home, config=config, engine=arguments.engine) as server:
        load = Load(server.port, keys)
        clients = [
            threading.Thread(target=load.client, args=(n,)) for n in range(arguments.clients)
        ]
        process = psutil.Process(server.pid)
        for work in WORKS:
            # Every model is loaded, and every way gone once.
            work(Caller(server.port, keys[0]), random.Random(0))
        began = time.monotonic()
        for client in clients:
            client.start()
        try:
            while (now := time.monotonic() - began) < arguments.minutes * 60:
                time.sleep(SAMPLE_SECONDS)
                if now > WARMING * arguments.minutes * 60:
                    samples.append((now, *sample(process)))
        finally:
            load.ended.set()
            for client in clients:
                client.join()
    rows, good = verdicts(samples)
    asked = ", ".join(f"{name} {count}" for name, count in load.asked.most_common())
    lines = [f"{arguments.engine or 'by rule'}, {arguments.minutes:g} minutes, "
             f"{arguments.clients} clients. Asked: {asked}.", "", *rows]  # fmt: skip
    lines += ["", *(f"wrong: {what}, {count} times" for what, count in load.wrong.most_common())]
    return lines, good and not load.wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--engine", default="")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        lines, good = soak(arguments, Path(place) / "soak.toml")
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
