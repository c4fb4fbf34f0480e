"""`/v1/completions`: one prompt, one continuation.

The model reads the prompt as it is; with `raw: false` (ours) it goes through the chat template.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dimora.core.errors import BadRequest, DimoraError, UnsupportedFeature
from dimora.core.types import Event, Queued
from dimora.dialects._body import BodyReader
from dimora.dialects._writing import citation_fields, encode, warning_fields
from dimora.dialects.base import Asked, Incoming
from dimora.dialects.openai import words
from dimora.dialects.openai.controls import ControlsBody, read_controls
from dimora.dialects.openai.words import Heading
from dimora.tasks.base import Token
from dimora.tasks.generate import Generate
from dimora.tasks.generation import Fold, GenerationDone, TextPiece, ThoughtPiece
from dimora.tasks.knowing import Citation


class CompletionBody(ControlsBody, frozen=True, kw_only=True):
    prompt: Any = None
    suffix: str = ""
    echo: bool = False
    best_of: int = 1
    logprobs: int | None = None
    raw: bool = True


_COMPLETION = BodyReader(CompletionBody)


def decode_completion(incoming: Incoming) -> Asked:
    """Raises BadRequest."""
    body, warnings = _COMPLETION.read(incoming.body)
    if not body.model:
        raise BadRequest("model is required", param="model")
    if body.best_of != 1:
        raise UnsupportedFeature("best_of must be 1: one answer per request", param="best_of")
    if body.logprobs is not None and not 0 <= body.logprobs <= 20:
        raise BadRequest("logprobs must be between 0 and 20", param="logprobs")
    controls, more = read_controls(body, body.max_tokens)
    request = Generate(
        **controls,
        warnings=(*warnings, *more),
        prompt=_read_prompt(body.prompt),
        suffix=body.suffix,
        raw=body.raw,
        echo=body.echo,
        logprobs=body.logprobs,
    )
    answer = CompletionAnswer(
        body.model,
        streaming=body.stream and not body.render_only,
        include_usage=body.stream_options.include_usage,
        want_logprobs=body.logprobs is not None,
    )
    return Asked(request, answer)


def _read_prompt(value: Any) -> str:
    if value is None:
        raise BadRequest("prompt is required", param="prompt")
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        return value[0]
    if isinstance(value, str):
        return value
    raise UnsupportedFeature(
        "prompt must be one string: lists of prompts and token ids are not supported",
        param="prompt",
    )


class CompletionAnswer:
    """One answer; keeps its id, its time, and how much text was said."""

    def __init__(
        self, model: str, *, streaming: bool, include_usage: bool, want_logprobs: bool
    ) -> None:
        self.streaming = streaming
        self.media_type = words.EVENTS if streaming else words.JSON
        self._heading = Heading(
            f"cmpl-{words.make_id()}", "text_completion", words.now_seconds(), model
        )
        self._include_usage = include_usage
        self._want_logprobs = want_logprobs
        self._citations: list[Citation] = []
        self._offset = 0

    def frame(self, event: Event) -> bytes:
        match event:
            case Queued(place=place):
                return f": queued place {place}\n\n".encode()
            case TextPiece(text=text, tokens=tokens):
                return self._chunk(text, tokens=tokens) if text or tokens else b""
            case ThoughtPiece(text=text):
                return self._chunk("", extra={"reasoning": text}) if text else b""
            case Citation():
                self._citations.append(event)
            case GenerationDone():
                return self._finish(event)
        return b""

    def refusal(self, error: DimoraError) -> bytes:
        return words.error(words.missing(error, self._heading.model))

    def failure(self, error: DimoraError) -> bytes:
        return b"data: " + self.refusal(error) + b"\n\n"

    def whole(self, events: Sequence[Event]) -> bytes:
        fold = Fold.of(list(events))
        choice = self._choice(fold.text, fold.tokens, words.finish_reason(fold.done))
        if fold.thought:
            choice["reasoning"] = fold.thought
        fields = self._heading.fields() | {
            "choices": [choice],
            "usage": words.usage_fields(fold.done.usage),
        }
        if fold.rendered is not None:
            fields["_debug_info"] = {"rendered_template": fold.rendered}
        return encode(fields | citation_fields(fold.citations) | warning_fields(fold.done))

    def _choice(
        self, text: str, tokens: Sequence[Token], finish_reason: str | None
    ) -> dict[str, Any]:
        choice: dict[str, Any] = {"text": text, "index": 0, "finish_reason": finish_reason}
        if self._want_logprobs:
            # The text of a prompt that is repeated has no log-probabilities and comes first.
            begin = self._offset + len(text) - sum(len(t.text) for t in tokens)
            choice["logprobs"] = _columns(tokens, max(begin, self._offset))
        self._offset += len(text)
        return choice

    def _chunk(
        self,
        text: str,
        *,
        tokens: Sequence[Token] = (),
        finish_reason: str | None = None,
        extra: dict[str, Any] | None = None,
    ) -> bytes:
        choice = self._choice(text, tokens, finish_reason) | (extra or {})
        fields = self._heading.fields() | {"choices": [choice]}
        if self._include_usage:
            fields["usage"] = None
        return words.frame(fields)

    def _finish(self, done: GenerationDone) -> bytes:
        choice = {"text": "", "index": 0, "finish_reason": words.finish_reason(done)}
        fields = self._heading.fields() | {"choices": [choice]}
        if self._include_usage:
            fields["usage"] = None
        frames = words.frame(fields | citation_fields(self._citations) | warning_fields(done))
        if self._include_usage:
            usage = words.usage_fields(done.usage)
            frames += words.frame(self._heading.fields() | {"choices": [], "usage": usage})
        return frames + words.END


def _columns(tokens: Sequence[Token], offset: int) -> dict[str, Any]:
    """The older form of log-probabilities: four columns, one row per token."""
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    return {
        "tokens": [t.text for t in tokens],
        "token_logprobs": [t.logprob for t in tokens],
        "top_logprobs": [{top.text: top.logprob for top in t.top} for t in tokens],
        "text_offset": offsets,
    }
