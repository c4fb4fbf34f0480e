"""Ollama's words for times, figures, names and errors."""

from __future__ import annotations

import re
import time
from typing import Any, NamedTuple

from dimora.core.errors import DimoraError, Overloaded, WorkerDied
from dimora.core.types import Done, Usage
from dimora.dialects import _writing
from dimora.dialects._writing import clip_name, encode, reword_missing
from dimora.tasks.base import ModelDetails, ModelSummary

JSON = "application/json; charset=utf-8"
NDJSON = "application/x-ndjson"

BUSY = "server busy, please try again.  maximum pending requests exceeded"
STOPPED = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an"
    " internal error"
)
# What "forever" is in a field that must hold a date.
FAR_FUTURE = "2300-01-01T00:00:00.000000000Z"

# `[host[:port]/][namespace/]model[:tag]`, contract 1.13; a host with a port needs no namespace.
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,79}"
_HOST = r"[A-Za-z0-9_][A-Za-z0-9_.:\-]{0,349}"
_NAME = re.compile(
    rf"(?:(?:{_HOST}/)?[A-Za-z0-9_][A-Za-z0-9_\-]{{0,79}}/|{_HOST}:[0-9]{{1,5}}/)?"
    rf"{_PART}(?::{_PART})?"
)


def is_name(text: str) -> bool:
    """Whether a text can be the name of a model."""
    return _NAME.fullmatch(text) is not None


def tell_time(nanoseconds: int) -> str:
    """RFC 3339 in UTC with nine digits after the second."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


def now() -> str:
    return tell_time(_writing.read_clock())


class Wording(NamedTuple):
    """How a route says that a model is missing; `name` as the caller sent it."""

    name: str = ""
    form: str = "model '{}' not found"

    def of(self, error: DimoraError) -> DimoraError:
        return reword_missing(error, self.form.format(clip_name(self.name)))


PULL_FIRST = 'model "{}" not found, try pulling it first'
QUOTED = 'model "{}" not found'
PULL_MISSING = "pull model manifest: file does not exist"


def error_text(error: DimoraError) -> str:
    """The one string an Ollama error holds."""
    if isinstance(error, Overloaded) and error.code == Overloaded.code:
        return BUSY
    if isinstance(error, WorkerDied):
        return f"{STOPPED}: {error.message}"
    return error.message


def error(error: DimoraError) -> bytes:
    """The JSON body of an error."""
    return encode({"error": error_text(error)})


def metric_fields(usage: Usage) -> dict[str, int]:
    """The six figures of an answer, durations in nanoseconds; what is 0 is left out."""
    figures = {
        "total_duration": round(usage.total_seconds * 1e9),
        "load_duration": round(usage.load_seconds * 1e9),
        "prompt_eval_count": usage.prompt_tokens,
        "prompt_eval_duration": round(usage.prompt_seconds * 1e9),
        "eval_count": usage.output_tokens,
        "eval_duration": round(usage.output_seconds * 1e9),
    }
    return {name: figure for name, figure in figures.items() if figure}


def done_reason(done: Done) -> str:
    """Ollama says `stop` also when tools were called."""
    return "stop" if done.reason == "tool_calls" else done.reason


def details_fields(details: ModelDetails) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "parent_model": details.parent_model,
        "format": details.format,
        "family": details.family,
        "families": list(details.families) or ([details.family] if details.family else []),
        "parameter_size": details.parameter_size,
        "quantization_level": details.quantization_level,
    }
    if details.context_length:
        fields["context_length"] = details.context_length
    if details.embedding_length:
        fields["embedding_length"] = details.embedding_length
    return fields


def summary_fields(summary: ModelSummary) -> dict[str, Any]:
    """One model of `/api/tags`."""
    fields: dict[str, Any] = {
        "name": summary.name,
        "model": summary.name,
        "modified_at": tell_time(round(summary.modified_at * 1e9)),
        "size": summary.size_bytes,
        "digest": summary.digest,
        "details": details_fields(summary.details),
    }
    if summary.capabilities:
        fields["capabilities"] = list(summary.capabilities)
    return fields
