"""The works that `compare.py` measures: what people ask for, and what is aimed at."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from pydoc_data.topics import topics
from typing import NamedTuple

from measure import WORDS
from pairs import Aim, Reading
from streams import Target

CONTEXT = 4096
QUESTION = "\nQuestion: who lived in the house, and what did they read? Answer:"
# Of English text about Python, with the vocabulary of most embedding models.
PASSAGE_WORDS = 106
PER_REQUEST = 100
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
# How people's answers are usually written; greedy ones of small models go round in circles.
TEMPERATURE = 0.8
FACTS = "Maria Rossi was born in Siena in 1961. She was a nurse and never married. "


class Figure(NamedTuple):
    """A line of the table."""

    title: str
    unit: str
    aim: Aim


class Work(NamedTuple):
    """Something people do. `measure` asks one server once, and gives a reading for each figure;
    `salt` makes a prompt like no other."""

    figures: tuple[Figure, ...]
    slots: int
    context: int
    asked_tokens: int
    measure: Callable[[Target, str], tuple[Reading, ...]]
    embeds: bool = False

    @property
    def servers(self) -> tuple[int, int, bool]:
        """What the servers are started for."""
        return self.slots, self.context, self.embeds


def words_about(salt: str, tokens: int) -> str:
    return f"{salt} " + WORDS * (tokens // 16)


def first_token(prompt: str, target: Target) -> tuple[Reading]:
    stream = target.complete(prompt, 1)
    return (Reading(stream.first_seconds, stream.prompt_tokens, stream.output_tokens),)


def fresh(target: Target, salt: str) -> tuple[Reading]:
    return first_token(words_about(salt, 2000) + QUESTION, target)


def again(target: Target, salt: str) -> tuple[Reading]:
    prefix = words_about(salt, 2000)
    target.complete(prefix + QUESTION, 1)
    return first_token(prefix + "\nNow tell me about the garden:", target)


def whole(target: Target, salt: str) -> tuple[Reading]:
    stream = target.complete(words_about(salt, 2000) + QUESTION, 200, TEMPERATURE)
    return (Reading(stream.total_seconds, stream.prompt_tokens, stream.output_tokens),)


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
    text = f"{salt} {FACTS}" + WORDS * (1000 // 16) + "\nWho is this about?"
    return (Reading(target.extract(text, SCHEMA).total_seconds),)


def repetition(target: Target, salt: str) -> tuple[Reading]:
    code = CODE.read_text()[:2000]
    prompt = f"# {salt}\n# A file, and the same file again.\n\n{code}\n\n# The same file again.\n\n"
    stream = target.complete(prompt, 200)
    return (Reading(stream.tokens_per_second, stream.prompt_tokens, stream.output_tokens),)


def at_most(title: str, unit: str, ratio: float) -> Figure:
    return Figure(title, unit, Aim(ratio, True))


def at_least(title: str, unit: str, ratio: float) -> Figure:
    return Figure(title, unit, Aim(ratio, False))


def passages(text: str, salt: str, count: int) -> list[str]:
    """Pieces of a real text, each after the one before, of about PASSAGE_TOKENS tokens."""
    words = text.split()
    if len(words) < count * PASSAGE_WORDS:
        words *= count * PASSAGE_WORDS // len(words) + 1
    return [
        f"passage: {salt} {number} " + " ".join(words[start : start + PASSAGE_WORDS])
        for number, start in enumerate(range(0, count * PASSAGE_WORDS, PASSAGE_WORDS))
    ]


def embedding(count: int) -> Callable[[Target, str], tuple[Reading]]:
    """Passages per second; two clients send some at a time, so that no server waits for work."""

    def measure(target: Target, salt: str) -> tuple[Reading]:
        texts = passages(" ".join(topics.values()), salt, count)
        requests = [texts[at : at + PER_REQUEST] for at in range(0, count, PER_REQUEST)]
        began = time.perf_counter()
        with ThreadPoolExecutor(2) as clients:
            tokens = sum(clients.map(target.embed, requests))
        return (Reading(count / (time.perf_counter() - began), tokens),)

    return measure


WORKS = {
    "ttft": Work((at_most("first token of 2 000 new ones", "s", 0.45),), 1, CONTEXT, 1, fresh),
    "prefix": Work((at_most("first token, same 2 000 before", "s", 1),), 1, CONTEXT, 1, again),
    "rag": Work((at_most("2 000 in, 200 out", "s", 0.75),), 1, CONTEXT, 200, whole),
    "stream": Work((at_least("one stream, 256 out", "tok/s", 1),), 1, CONTEXT, 256, one_stream),
    "repeat": Work(
        (at_least("text that repeats its input", "tok/s", 1.3),), 1, CONTEXT, 200, repetition
    ),
    "extract": Work((at_most("JSON by schema of 1 000", "s", 0.7),), 1, CONTEXT, 0, extraction),
    "eight": Work(
        (at_least("8 clients, 500 in, 128 out", "tok/s", 1.8),), 8, 1024, 128, together(8)
    ),
    "thirty-two": Work(
        (
            at_least("32 clients, 500 in, 128 out", "tok/s", 2),
            at_most("32 clients, the slowest first token", "s", 0.6),
        ),
        32,
        1024,
        128,
        together(32),
    ),
    "embed": Work(
        (at_least("1 000 passages of 200", "/s", 2),), 8, 512, 0, embedding(1000), embeds=True
    ),
    "embed-few": Work(
        (at_least("100 passages of 200", "/s", 2),), 8, 512, 0, embedding(100), embeds=True
    ),
}
