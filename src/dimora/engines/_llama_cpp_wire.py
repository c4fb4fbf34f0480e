"""The wire to a llama-server: a connection over its UNIX socket, and what its answers say."""

from __future__ import annotations

import http.client
import json
import math
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec

from dimora.core.errors import BadRequest, DimoraError, InternalError, PromptTooLong
from dimora.tasks.base import Finish, Token, TopToken

_DISCARDED_BYTES = 2**16


class Connection(http.client.HTTPConnection):
    """HTTP over a UNIX socket; one connection per request, so that closing it cancels."""

    def __init__(self, address: str) -> None:
        super().__init__("localhost")
        self._address = address
        # `sock` is forgotten when the answer says that it is the last one.
        self._wire = socket.socket(socket.AF_UNIX)

    def connect(self) -> None:
        self._wire.connect(self._address)
        self.sock = self._wire

    def cut(self) -> None:
        """We ask for nothing more, from any thread; the server notices between two batches."""
        with suppress(OSError):
            self._wire.shutdown(socket.SHUT_WR)

    def cut_and_wait(self) -> None:
        """Returns when the server has closed its end too: by then it has left its slot, or never
        takes it."""
        self.cut()
        with suppress(OSError):
            while self._wire.recv(_DISCARDED_BYTES):
                pass

    def close(self) -> None:
        super().close()
        self._wire.close()


class _Chunk(msgspec.Struct):
    """One event of the stream; the last one has `stop` and the figures."""

    content: str = ""
    tokens: list[int] = []
    stop: bool = False
    stop_type: str = ""
    tokens_evaluated: int = 0
    tokens_predicted: int = 0
    timings: dict[str, Any] = {}
    completion_probabilities: list[dict[str, Any]] = []
    error: dict[str, Any] | None = None
    prompt_progress: dict[str, Any] | None = None


_chunk_decoder = msgspec.json.Decoder(_Chunk)


def read_stream(answer: http.client.HTTPResponse, logprobs: int | None) -> Iterator[Token | Finish]:
    ended = False
    for line in answer:
        if line.startswith(b"error: "):
            raise refusal(500, line[7:])
        if not line.startswith(b"data: {"):
            continue
        chunk = _chunk_decoder.decode(line[6:])
        if chunk.error is not None:
            raise refusal(int(chunk.error.get("code", 500)), line[6:])
        # News of the reading carries a token that nobody wrote.
        if chunk.prompt_progress is None and (chunk.content or chunk.tokens):
            yield from _tokens_of(chunk, logprobs)
        if chunk.stop:
            ended = True
            yield _finish_of(chunk)
    if not ended:
        raise ValueError("the stream ended without a last event")


def _tokens_of(chunk: _Chunk, logprobs: int | None) -> Iterator[Token]:
    """Usually one; several where the server held some back. The text goes with the first."""
    told = {one["id"]: one for one in chunk.completion_probabilities}
    text = chunk.content
    for token in chunk.tokens or [-1]:
        one = told.get(token)
        if logprobs is None or one is None:
            yield Token(token, text)
        else:
            top = tuple(
                TopToken(t["id"], t["token"], _finite(t["logprob"]))
                for t in one["top_logprobs"][:logprobs]
            )
            yield Token(token, text, _finite(one["logprob"]), top)
        text = ""


def _finite(logprob: float | None) -> float:
    """JSON has no infinity: the server writes null or a huge number for what cannot be."""
    if logprob is None or not math.isfinite(logprob):
        return -1e9
    return min(0.0, logprob)


def _finish_of(chunk: _Chunk) -> Finish:
    timings = chunk.timings
    return Finish(
        reason="length" if chunk.stop_type == "limit" else "stop",
        prompt_tokens=chunk.tokens_evaluated,
        cached_tokens=int(timings.get("cache_n", 0)),
        output_tokens=chunk.tokens_predicted,
        prompt_seconds=float(timings.get("prompt_ms", 0)) / 1000,
        output_seconds=float(timings.get("predicted_ms", 0)) / 1000,
    )


def refusal(status: int, body: bytes) -> DimoraError:
    """The server's error in our tree. Its text may hold a piece of the prompt, so only known
    kinds are told."""
    with suppress(ValueError):
        error = json.loads(body).get("error", {})
        if isinstance(error, dict) and error.get("type") == "exceed_context_size_error":
            return PromptTooLong("the prompt is longer than the context window of the engine")
    if status == http.client.BAD_REQUEST:
        return BadRequest(
            "the engine refused the request",
            hint="a JSON schema it cannot hold, or a value out of range",
            code="engine_refused",
        )
    return InternalError(f"the engine failed with status {status}")
