"""The works that `compare.py` measures: what people ask for, and what is aimed at."""

from __future__ import annotations

import hashlib
import inspect
import re
import sched
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import cycle, islice
from pydoc_data.topics import topics
from typing import NamedTuple

from pairs import Aim, Reading
from streams import Target

CONTEXT = 4096
QUESTION = "\nQuestion: who lived in the house, and what did they read? Answer:"
ANOTHER_QUESTION = "\nNow tell me about the garden:"
_PROSE = re.compile(r"[A-Za-z]?[a-z]+[.,;:]?")
# Of English prose about Python, with the vocabularies of most models that write, and of those that
# make vectors.
WORDS_PER_TOKEN = 0.87
PASSAGE_WORDS = 150
PER_REQUEST = 100
# Plain code that changes as seldom as Python.
CODE = inspect.getsource(sched.scheduler)[:2000]
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
# How people's answers are usually written; greedy ones of small models go round in circles.
TEMPERATURE = 0.8
FACTS = "Maria Rossi was born in Siena in 1961. She was a nurse and never married. "


class Figure(NamedTuple):
    """A line of the table. `tokens` is how many an answer must have, 0 for as many as it needs."""

    title: str
    unit: str
    aim: Aim
    tokens: int


class Work(NamedTuple):
    """Something people do. `measure` asks one server once, and gives a reading for each figure;
    `salt` makes a prompt like no other."""

    figures: tuple[Figure, ...]
    slots: int
    context: int
    measure: Callable[[Target, str], tuple[Reading, ...]]
    embeds: bool = False

    @property
    def servers(self) -> tuple[int, int, bool]:
        """What the servers are started for."""
        return self.slots, self.context, self.embeds


def words_about(salt: str, tokens: int) -> str:
    """A real text of about so many tokens, another for every salt. After a sentence that comes
    again and again small models repeat one word until they are stopped."""
    words = _words()
    start = int.from_bytes(hashlib.sha256(salt.encode()).digest()[:4]) % len(words)
    count = int(tokens * WORDS_PER_TOKEN)
    return f"{salt} " + " ".join(islice(cycle(words), start, start + count))


@cache
def _words() -> list[str]:
    """Without code and tables, which have many more tokens to a word here and fewer there."""
    return [word for word in " ".join(topics.values()).split() if _PROSE.fullmatch(word)]


def first_token(prompt: str, target: Target) -> Reading:
    stream = target.complete(prompt, 1)
    return Reading(stream.first_seconds, stream.prompt_tokens, stream.output_tokens)


def fresh(target: Target, salt: str) -> tuple[Reading]:
    return (first_token(words_about(salt, 2000) + QUESTION, target),)


def again(target: Target, salt: str) -> tuple[Reading]:
    prefix = words_about(salt, 2000)
    target.complete(prefix + QUESTION, 1)
    return (first_token(prefix + ANOTHER_QUESTION, target),)


def whole(target: Target, salt: str) -> tuple[Reading, Reading, Reading]:
    """First token and whole answer of a new text, and the first token of another question."""
    prefix = words_about(salt, 2000)
    stream = target.complete(prefix + QUESTION, 200, TEMPERATURE)
    return (
        Reading(stream.first_seconds, stream.prompt_tokens, stream.output_tokens),
        Reading(stream.total_seconds, stream.prompt_tokens, stream.output_tokens),
        first_token(prefix + ANOTHER_QUESTION, target),
    )


def one_stream(target: Target, salt: str) -> tuple[Reading]:
    prompt = f"{salt} The most important thing about houses is"
    stream = target.complete(prompt, 256, TEMPERATURE)
    return (Reading(stream.tokens_per_second, stream.prompt_tokens, stream.output_tokens),)


def together(
    clients: int, prompt_tokens: int = 500, tokens: int = 128
) -> Callable[[Target, str], tuple[Reading, Reading]]:
    """Tokens per second in all, and seconds to the slowest first token."""

    def measure(target: Target, salt: str) -> tuple[Reading, Reading]:
        prompts = [words_about(f"{salt}{n}", prompt_tokens) for n in range(clients)]
        rate, streams = target.together(prompts, tokens, TEMPERATURE)
        read = sum(stream.prompt_tokens for stream in streams)
        least = min(stream.output_tokens for stream in streams)
        last = max(stream.first_seconds for stream in streams)
        return Reading(rate, read, least), Reading(last, read, least)

    return measure


def extraction(target: Target, salt: str) -> tuple[Reading]:
    text = f"{FACTS}{words_about(salt, 1000)}\nWho is this about?"
    stream = target.extract(text, SCHEMA)
    return (Reading(stream.total_seconds, stream.prompt_tokens, stream.output_tokens),)


def repetition(target: Target, salt: str) -> tuple[Reading]:
    prompt = f"# {salt}\n# A file, and the same file again.\n\n{CODE}\n\n# The same file again.\n\n"
    stream = target.complete(prompt, 200)
    return (Reading(stream.tokens_per_second, stream.prompt_tokens, stream.output_tokens),)


def at_most(title: str, unit: str, ratio: float, tokens: int = 0) -> Figure:
    return Figure(title, unit, Aim(ratio, True), tokens)


def at_least(title: str, unit: str, ratio: float, tokens: int = 0) -> Figure:
    return Figure(title, unit, Aim(ratio, False), tokens)


def passages(words: list[str], salt: str, count: int) -> list[str]:
    """Pieces of a text, each after the one before, of about 200 tokens."""
    words = words * (count * PASSAGE_WORDS // len(words) + 1)
    return [
        f"passage: {salt} {number} " + " ".join(words[start : start + PASSAGE_WORDS])
        for number, start in enumerate(range(0, count * PASSAGE_WORDS, PASSAGE_WORDS))
    ]


def embedding(count: int) -> Callable[[Target, str], tuple[Reading]]:
    """Passages per second; two clients send some at a time, so that no server waits for work."""

    def measure(target: Target, salt: str) -> tuple[Reading]:
        texts = passages(_words(), salt, count)
        requests = [texts[at : at + PER_REQUEST] for at in range(0, count, PER_REQUEST)]
        began = time.perf_counter()
        with ThreadPoolExecutor(2) as clients:
            tokens = sum(clients.map(target.embed, requests))
        return (Reading(count / (time.perf_counter() - began), tokens),)

    return measure


FRESH = at_most("first token of 2 000 new ones", "s", 0.45, 1)
AGAIN = at_most("first token, same 2 000 before", "s", 1, 1)
WHOLE = at_most("2 000 in, 200 out", "s", 0.75, 200)

WORKS = {
    "ttft": Work((FRESH,), 1, CONTEXT, fresh),
    "prefix": Work((AGAIN,), 1, CONTEXT, again),
    "rag": Work((FRESH, WHOLE, AGAIN), 1, CONTEXT, whole),
    "stream": Work((at_least("one stream, 256 out", "tok/s", 1, 256),), 1, CONTEXT, one_stream),
    "repeat": Work(
        (at_least("text that repeats its input", "tok/s", 1.3, 200),), 1, CONTEXT, repetition
    ),
    "extract": Work((at_most("JSON by schema of 1 000", "s", 0.7),), 1, CONTEXT, extraction),
    "eight": Work(
        (at_least("8 clients, 500 in, 128 out", "tok/s", 1.8, 128),), 8, 1024, together(8)
    ),
    "thirty-two": Work(
        (
            at_least("32 clients, 500 in, 128 out", "tok/s", 2, 128),
            at_most("32 clients, the slowest first token", "s", 0.6, 128),
        ),
        32,
        1024,
        together(32),
    ),
    "embed": Work(
        (at_least("1 000 passages of 200", "/s", 2),), 8, 512, embedding(1000), embeds=True
    ),
    "embed-few": Work(
        (at_least("100 passages of 200", "/s", 2),), 8, 512, embedding(100), embeds=True
    ),
}
# These start the servers themselves.
START = at_most("start to first token", "s", 1.2, 1)
MEMORY = at_most("memory, one window of 4 096", "MB", 1.15, 1)
# What is measured where nothing is named: each figure once.
USUAL = ("rag", "stream", "repeat", "extract", "eight", "thirty-two")
