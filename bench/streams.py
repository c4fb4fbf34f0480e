"""A streaming client that keeps time; the same for every server that is compared."""

from __future__ import annotations

import http.client
import json
import statistics
import threading
import time
from dataclasses import dataclass, field


@dataclass
class Stream:
    """One answer: seconds to its first piece, seconds in all, tokens as the server counts them."""

    first_seconds: float = 0.0
    total_seconds: float = 0.0
    prompt_tokens: int = 0
    output_tokens: int = 0
    pieces: int = 0
    text: str = ""

    @property
    def tokens_per_second(self) -> float:
        """After the first piece, so that reading the prompt is not in it."""
        return (self.output_tokens - 1) / max(self.total_seconds - self.first_seconds, 1e-9)


@dataclass
class Target:
    """A server that speaks /v1/completions."""

    name: str
    port: int
    model: str
    key: str = ""
    extra: dict[str, object] = field(default_factory=dict)
    host: str = "127.0.0.1"

    def complete(self, prompt: str, tokens: int, temperature: float = 0) -> Stream:
        """Stream one answer of exactly `tokens` tokens where the model does not stop."""
        body = {
            "model": self.model,
            "prompt": prompt,
            "max_tokens": tokens,
            "temperature": temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        } | self.extra
        return self._stream("/v1/completions", body)

    def embed(self, texts: list[str]) -> int:
        """Ask for the vectors of all texts in one request; returns how many tokens were read.
        Raises RuntimeError when a vector is missing."""
        body = {"model": self.model, "input": texts, "encoding_format": "base64"}
        connection = http.client.HTTPConnection(self.host, self.port, timeout=600)
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/embeddings", json.dumps(body), headers)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        if response.status != 200:
            raise RuntimeError(f"{self.name}: {response.status} {answer[:300]!r}")
        found = json.loads(answer)
        if len({row["index"] for row in found["data"] if row["embedding"]}) != len(texts):
            raise RuntimeError(f"{self.name}: {len(found['data'])} of {len(texts)} vectors")
        return int(found["usage"]["prompt_tokens"])

    def extract(self, text: str, schema: dict[str, object]) -> Stream:
        """An object by this schema, from a text; raises RuntimeError for anything else."""
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": 300,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "person", "strict": True, "schema": schema},
            },
        } | {name: value for name, value in self.extra.items() if name != "logit_bias"}
        stream = self._stream("/v1/chat/completions", body)
        found = json.loads(stream.text)
        if set(found) != set(schema["properties"]):  # type: ignore[call-overload]
            raise RuntimeError(f"{self.name}: the object has {sorted(found)}")
        return stream

    def _stream(self, path: str, body: dict[str, object]) -> Stream:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        connection = http.client.HTTPConnection(self.host, self.port, timeout=600)
        stream = Stream()
        started = time.perf_counter()
        connection.request("POST", path, json.dumps(body), headers)
        response = connection.getresponse()
        if response.status != 200:
            raise RuntimeError(f"{self.name}: {response.status} {response.read()[:300]!r}")
        for line in response:
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            if usage := event.get("usage"):
                stream.output_tokens = usage["completion_tokens"] or stream.output_tokens
                stream.prompt_tokens = usage["prompt_tokens"] or stream.prompt_tokens
            choice = event["choices"][0] if event.get("choices") else {}
            piece = choice.get("text") or (choice.get("delta") or {}).get("content")
            if piece:
                stream.pieces += 1
                stream.text += piece
                stream.first_seconds = stream.first_seconds or time.perf_counter() - started
        stream.total_seconds = time.perf_counter() - started
        connection.close()
        return stream

    def together(
        self, prompts: list[str], tokens: int, temperature: float = 0
    ) -> tuple[float, list[Stream]]:
        """All prompts at once; tokens per second in total, and each stream."""
        results: list[Stream] = []

        def ask(prompt: str) -> None:
            results.append(self.complete(prompt, tokens, temperature))

        threads = [threading.Thread(target=ask, args=(prompt,)) for prompt in prompts]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - started
        if len(results) != len(prompts):
            raise RuntimeError(f"{self.name}: {len(prompts) - len(results)} streams failed")
        return sum(r.output_tokens for r in results) / seconds, results


def median(values: list[float]) -> float:
    return statistics.median(values)


def spread(values: list[float]) -> str:
    """Median with the smallest and largest value."""
    return f"{median(values):.3g} ({min(values):.3g}-{max(values):.3g})"
