"""OpenAI's words for errors, ids, usage and log-probabilities."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

from dimora.core.errors import DimoraError
from dimora.core.types import Done, Usage
from dimora.dialects import _writing
from dimora.dialects._writing import clip_name, encode, reword_missing, truncation_fields
from dimora.tasks.base import Token

JSON = "application/json"
EVENTS = "text/event-stream; charset=utf-8"
FINGERPRINT = "fp_dimora"
END = b"data: [DONE]\n\n"

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
}


class Heading(NamedTuple):
    """What every object of one answer repeats."""

    id: str
    kind: str
    created: int
    model: str

    def fields(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": self.kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": FINGERPRINT,
        }


def make_id() -> str:
    """24 letters and digits, unguessable. The one place where this dialect makes up ids."""
    return secrets.token_hex(12)


def now_seconds() -> int:
    return _writing.read_clock() // 10**9


def error_fields(error: DimoraError) -> dict[str, Any]:
    """`hint` is ours; the rest is what OpenAI's clients read."""
    fields: dict[str, Any] = {
        "message": error.message,
        "type": _TYPES.get(error.status, "api_error"),
        "param": error.param,
        "code": error.code,
    }
    if error.hint:
        fields["hint"] = error.hint
    return {"error": fields}


def error(error: DimoraError) -> bytes:
    """The JSON body of an error."""
    return encode(error_fields(error))


def missing(error: DimoraError, model: str) -> DimoraError:
    """The error, in this language's words when the model was not found."""
    return reword_missing(error, f"model '{clip_name(model)}' not found")


def frame(fields: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + encode(fields) + b"\n\n"


def finish_reason(done: Done) -> str:
    return done.reason if done.reason in ("length", "tool_calls") else "stop"


def usage_fields(usage: Usage) -> dict[str, Any]:
    """`truncated` and `prompt_tokens_original` are ours."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.prompt_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        **truncation_fields(usage),
    }


def logprob_content(tokens: Sequence[Token]) -> list[dict[str, Any]]:
    """One entry per token that has a log-probability."""
    return [
        {
            **_logprob(token.text, token.logprob),
            "top_logprobs": [_logprob(top.text, top.logprob) for top in token.top],
        }
        for token in tokens
        if token.logprob is not None
    ]


def _logprob(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}
