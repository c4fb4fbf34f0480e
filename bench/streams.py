"""Clients that keep time: the same one for every server that speaks OpenAI's way, and one for those
that speak Ollama's alone."""

from __future__ import annotations

import http.client
import json
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

_SECONDS_AT_MOST = 600


@dataclass
class Stream:
    """One answer: seconds to its first piece, seconds in all, tokens as the server counts them."""

    first_seconds: float = 0.0
    total_seconds: float = 0.0
    prompt_tokens: int = 0
    output_tokens: int = 0
    text: str = ""

    @property
    def tokens_per_second(self) -> float:
        """After the first piece, so that reading the prompt is not in it."""
        return (self.output_tokens - 1) / max(self.total_seconds - self.first_seconds, 1e-9)


@dataclass
class Target:
    """A server that speaks OpenAI's API under `url`, with or without the /v1; `extra` goes into
    every completion. Every method raises RuntimeError when the server refuses or breaks off."""

    name: str
    url: str
    model: str
    key: str = ""
    extra: dict[str, object] = field(default_factory=dict)

    def complete(self, prompt: str, tokens: int, temperature: float = 0) -> Stream:
        """Stream one answer of exactly `tokens` tokens where the model does not stop."""
        body = {"prompt": prompt, "max_tokens": tokens} | _varied(temperature)
        return self._stream("/v1/completions", body | self.extra)

    def extract(self, text: str, schema: dict[str, Any]) -> Stream:
        """An object by this schema, from a text; anything else is a RuntimeError."""
        body = {
            "messages": [{"role": "user", "content": text}],
            "max_tokens": 300,
            "temperature": 0,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "person", "strict": True, "schema": schema},
            },
        }
        extra = {name: value for name, value in self.extra.items() if name != "logit_bias"}
        return self._checked(self._stream("/v1/chat/completions", body | extra), schema)

    def embed(self, texts: list[str]) -> int:
        """Ask for the vectors of all texts in one request; returns how many tokens were read."""
        body = {"model": self.model, "input": texts, "encoding_format": "base64"}
        with self._asked("/v1/embeddings", body) as response:
            found = json.loads(response.read())
        self._count({row["index"] for row in found["data"] if row["embedding"]}, texts)
        return int(found["usage"]["prompt_tokens"])

    def together(
        self, prompts: list[str], tokens: int, temperature: float = 0
    ) -> tuple[float, list[Stream]]:
        """All prompts at once; tokens per second in total, and each stream."""
        started = time.perf_counter()
        with ThreadPoolExecutor(len(prompts)) as clients:
            streams = list(clients.map(lambda p: self.complete(p, tokens, temperature), prompts))
        seconds = time.perf_counter() - started
        return sum(stream.output_tokens for stream in streams) / seconds, streams

    def _stream(self, path: str, body: dict[str, object]) -> Stream:
        body |= {"model": self.model, "stream": True, "stream_options": {"include_usage": True}}
        return self._timed(path, body, b"data: {")

    def _read(self, event: dict[str, Any], stream: Stream) -> str:
        """Takes the counts of an event; returns its piece of the answer."""
        if usage := event.get("usage"):
            stream.output_tokens = usage["completion_tokens"] or stream.output_tokens
            stream.prompt_tokens = usage["prompt_tokens"] or stream.prompt_tokens
        choice = event["choices"][0] if event.get("choices") else {}
        return choice.get("text") or (choice.get("delta") or {}).get("content") or ""

    def _timed(self, path: str, body: dict[str, object], begins: bytes) -> Stream:
        """Reads an answer of one JSON object to a line, whose lines begin like this."""
        stream = Stream()
        started = time.perf_counter()
        with self._asked(path, body) as response:
            for line in response:
                if not line.startswith(begins):
                    continue
                event = json.loads(line[len(begins) - 1 :])
                if "error" in event:
                    raise RuntimeError(f"{self.name}: {event['error']}")
                if piece := self._read(event, stream):
                    stream.text += piece
                    stream.first_seconds = stream.first_seconds or time.perf_counter() - started
            if response.length:
                raise RuntimeError(f"{self.name}: the answer breaks off")
        stream.total_seconds = time.perf_counter() - started
        # A token that is half a letter is first seen when the answer ends.
        stream.first_seconds = stream.first_seconds or stream.total_seconds
        return stream

    @contextmanager
    def _asked(self, path: str, body: dict[str, object]) -> Iterator[http.client.HTTPResponse]:
        url = urlsplit(self.url.rstrip("/").removesuffix("/v1"))
        secure = url.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(url.netloc, timeout=_SECONDS_AT_MOST)
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        try:
            connection.request("POST", url.path + path, json.dumps(body), headers)
            response = connection.getresponse()
            if response.status != 200:
                raise RuntimeError(f"{self.name}: {response.status} {response.read()[:300]!r}")
            yield response
        except (OSError, http.client.HTTPException) as why:
            raise RuntimeError(f"{self.name}: {why!r}") from why
        finally:
            connection.close()

    def _checked(self, stream: Stream, schema: dict[str, Any]) -> Stream:
        try:
            found = set(json.loads(stream.text))
        except ValueError:
            raise RuntimeError(f"{self.name}: an answer that is no JSON") from None
        if found != set(schema["properties"]):
            raise RuntimeError(f"{self.name}: the object has {sorted(found)}")
        return stream

    def _count(self, vectors: set[int], texts: list[str]) -> None:
        if len(vectors) != len(texts):
            raise RuntimeError(f"{self.name}: {len(vectors)} of {len(texts)} vectors")


class OllamaTarget(Target):
    """A server that is asked in Ollama's own words, since its /v1/completions puts the prompt into
    the model's template; `extra` goes into the options, such as `num_ctx`. It cannot rule tokens
    out, so that a model may end an answer early."""

    def complete(self, prompt: str, tokens: int, temperature: float = 0) -> Stream:
        options = {"num_predict": tokens} | _varied(temperature) | self.extra
        body = {"model": self.model, "prompt": prompt, "raw": True, "options": options}
        return self._timed("/api/generate", body, b"{")

    def extract(self, text: str, schema: dict[str, Any]) -> Stream:
        options = {"num_predict": 300, "temperature": 0} | self.extra
        messages = [{"role": "user", "content": text}]
        body = {"model": self.model, "messages": messages, "format": schema, "options": options}
        return self._checked(self._timed("/api/chat", body, b"{"), schema)

    def embed(self, texts: list[str]) -> int:
        body = {"model": self.model, "input": texts, "options": self.extra}
        with self._asked("/api/embed", body) as response:
            found = json.loads(response.read())
        self._count({at for at, vector in enumerate(found["embeddings"]) if vector}, texts)
        return int(found["prompt_eval_count"])

    def _read(self, event: dict[str, Any], stream: Stream) -> str:
        stream.prompt_tokens = event.get("prompt_eval_count") or stream.prompt_tokens
        stream.output_tokens = event.get("eval_count") or stream.output_tokens
        return event.get("response") or (event.get("message") or {}).get("content") or ""


def _varied(temperature: float) -> dict[str, object]:
    """A model that may not end its answer likes to write one token again and again, and the house
    stops that: where chance is allowed, words that were written get a little less likely."""
    return {"temperature": temperature, "frequency_penalty": 0.3 if temperature else 0}


def spread(values: list[float]) -> str:
    """Median with the smallest and largest value."""
    return f"{statistics.median(values):.3g} ({min(values):.3g}-{max(values):.3g})"
