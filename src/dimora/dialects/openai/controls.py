"""The controls that chat completions and completions have in common."""

from __future__ import annotations

from typing import Any

import msgspec

from dimora.core.errors import BadRequest, UnsupportedFeature
from dimora.dialects._body import (
    Body,
    check_integer,
    keep_alive_from,
    quote,
    read_json_schema,
    read_options,
)
from dimora.tasks.options import Options

_EFFORTS: dict[str, Any] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "max": "max",
    "xhigh": "max",
    "ultra": "max",
}
# Known fields that change nothing here. `user` is not among them: it is a label without effect,
# which clients send as a matter of course.
_INERT = ("metadata", "store")


class StreamOptions(Body, frozen=True, kw_only=True):
    include_usage: bool = False


class Reasoning(Body, frozen=True, kw_only=True):
    effort: str = ""


class NamedSchema(Body, frozen=True, kw_only=True):
    """`strict` or not, the schema is enforced. `name` is a label."""

    name: str = ""
    schema: dict[str, Any] | None = None
    strict: bool = False


class ResponseFormat(Body, frozen=True, kw_only=True):
    type: str = "text"
    json_schema: NamedSchema = NamedSchema()


class ControlsBody(Body, frozen=True, kw_only=True):
    """From `top_k` on: not OpenAI's, but sent by clients of other servers, or ours."""

    model: str = ""
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    max_tokens: int | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    n: int = 1
    user: str = ""
    metadata: Any = None
    store: Any = None
    reasoning: Reasoning = Reasoning()
    reasoning_effort: str = ""
    response_format: ResponseFormat = ResponseFormat()
    top_k: int | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repeat_penalty: float | None = None
    keep_alive: Any = None
    options: dict[str, Any] = {}
    truncate: bool = True
    render_only: bool = msgspec.field(default=False, name="_debug_render_only")
    retrieve: bool = True


def read_controls(
    body: ControlsBody, max_tokens: int | None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Arguments of a GenerationRequest, and warnings. Raises BadRequest."""
    if body.n != 1:
        raise UnsupportedFeature("n must be 1: one answer per request", param="n")
    options, warnings = _read_sampling(body, max_tokens)
    inert = [f"field '{name}' has no effect here" for name in _INERT if getattr(body, name)]
    controls = {
        "model": body.model,
        "options": options,
        "json_schema": read_response_format(body.response_format),
        "think": read_effort(body.reasoning.effort or body.reasoning_effort),
        "truncate": body.truncate,
        "keep_alive": keep_alive_from(body.keep_alive),
        "render_only": body.render_only,
        "retrieve": body.retrieve,
    }
    return controls, (*warnings, *inert)


def _read_sampling(body: ControlsBody, max_tokens: int | None) -> tuple[Options, tuple[str, ...]]:
    """Options: the body's own fields first, then `options`, then OpenAI's defaults."""
    if max_tokens is not None and max_tokens < -1:
        raise BadRequest("max_tokens must not be negative", param="max_tokens")
    for name, value in (("seed", body.seed), ("max_tokens", max_tokens), ("top_k", body.top_k)):
        check_integer(value, name)
    lower, warnings = read_options(body.options)
    own = Options(
        num_predict=max_tokens,
        seed=body.seed,
        stop=(body.stop,) if isinstance(body.stop, str) else _tuple(body.stop),
        temperature=body.temperature,
        top_p=body.top_p,
        frequency_penalty=body.frequency_penalty,
        presence_penalty=body.presence_penalty,
        logit_bias=_read_bias(body.logit_bias),
        top_k=body.top_k,
        min_p=body.min_p,
        typical_p=body.typical_p,
        repeat_penalty=body.repeat_penalty,
    )
    return own.over(lower).over(Options(temperature=1.0, top_p=1.0)), warnings


def _tuple(words: list[str] | None) -> tuple[str, ...] | None:
    return None if words is None else tuple(words)


def _read_bias(values: dict[str, float] | None) -> dict[int, float] | None:
    """Token ids to biases between -100 and 100, which forbid and force."""
    if not values:
        return None
    biases: dict[int, float] = {}
    for key, bias in values.items():
        if not (key.isascii() and key.isdigit() and len(key) < 11 and int(key) < 2**31):
            raise BadRequest(f"logit_bias: {quote(key)} is no token id", param="logit_bias")
        if not -100 <= bias <= 100:
            raise BadRequest("logit_bias must be between -100 and 100", param="logit_bias")
        biases[int(key)] = bias
    return biases


def read_effort(effort: str) -> Any:
    """What `think` is for a reasoning effort; None when nothing was said. Raises BadRequest."""
    if not effort:
        return None
    if effort not in _EFFORTS:
        raise BadRequest(
            f"reasoning_effort must be one of: {', '.join(_EFFORTS)}", param="reasoning_effort"
        )
    return _EFFORTS[effort]


def read_response_format(body: ResponseFormat) -> dict[str, Any] | None:
    """The JSON Schema an answer must match, None for free text. Raises BadRequest."""
    match body.type:
        case "text":
            return None
        case "json_object":
            return read_json_schema("json")
        case "json_schema":
            if body.json_schema.schema is None:
                raise BadRequest(
                    "response_format.json_schema needs a schema",
                    param="response_format.json_schema.schema",
                )
            return body.json_schema.schema
    raise BadRequest(
        "response_format.type must be one of: text, json_object, json_schema",
        param="response_format.type",
    )
