"""The shapes of Ollama's answers: one object, or a stream of lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dimora.core.errors import DimoraError
from dimora.core.types import Done, Event, Progress, Queued
from dimora.dialects._writing import (
    citation_fields,
    encode,
    last_done,
    truncation_fields,
    warning_fields,
)
from dimora.dialects.ollama import words
from dimora.dialects.ollama.messages import call_fields
from dimora.dialects.ollama.words import Wording
from dimora.tasks.base import Token
from dimora.tasks.generation import (
    CallPiece,
    Fold,
    GenerationDone,
    Rendered,
    TextPiece,
    ThoughtPiece,
)
from dimora.tasks.knowing import Citation

Shape = Callable[[str, str, Sequence[dict[str, Any]]], dict[str, Any]]


def chat_shape(text: str, thought: str, calls: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Where the parts of an answer lie in an object of `/api/chat`."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if thought:
        message["thinking"] = thought
    if calls:
        message["tool_calls"] = list(calls)
    return {"message": message}


def generate_shape(text: str, thought: str, calls: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The same in an object of `/api/generate`."""
    fields: dict[str, Any] = {"response": text}
    if thought:
        fields["thinking"] = thought
    if calls:
        fields["tool_calls"] = list(calls)
    return fields


class OneObject:
    """An answer that is never streamed: `body` makes it from all events."""

    streaming = False
    media_type = words.JSON

    def __init__(
        self, body: Callable[[Sequence[Event]], bytes], wording: Wording | None = None
    ) -> None:
        self._body = body
        self._wording = wording or Wording()

    def frame(self, event: Event) -> bytes:
        return b""

    def refusal(self, error: DimoraError) -> bytes:
        return words.error(self._wording.of(error))

    def failure(self, error: DimoraError) -> bytes:
        return self.refusal(error)

    def whole(self, events: Sequence[Event]) -> bytes:
        return self._body(events)


class _Lines:
    """What all answers that may be streamed as lines have in common."""

    def __init__(self, wording: Wording, *, streaming: bool) -> None:
        self.streaming = streaming
        self.media_type = words.NDJSON if streaming else words.JSON
        self._wording = wording

    def refusal(self, error: DimoraError) -> bytes:
        return words.error(self._wording.of(error))

    def failure(self, error: DimoraError) -> bytes:
        return self.refusal(error) + b"\n"


class GenerationAnswer(_Lines):
    """Of `/api/generate` and `/api/chat`; `model` is repeated as the caller wrote it."""

    def __init__(self, model: str, shape: Shape, wording: Wording, *, streaming: bool) -> None:
        super().__init__(wording, streaming=streaming)
        self._model = model
        self._shape = shape
        self._citations: list[Citation] = []

    def frame(self, event: Event) -> bytes:
        fields = self._fields(event)
        return encode(fields) + b"\n" if fields else b""

    def _fields(self, event: Event) -> dict[str, Any]:
        match event:
            case TextPiece(text=text, tokens=tokens):
                return self._chunk(text) | logprob_fields(tokens) if text or tokens else {}
            case ThoughtPiece(text=text):
                return self._chunk(thought=text) if text else {}
            case CallPiece(index=index, call=call):
                return self._chunk(calls=[call_fields(call, index)])
            case Citation():
                # Told with the last object, which is the one that clients keep.
                self._citations.append(event)
            case Queued(place=place):
                return self._chunk() | {"queue": {"place": place}}
            case Rendered(prompt=prompt):
                return self._chunk() | {"_debug_info": {"rendered_template": prompt}}
            case GenerationDone():
                return self._final(event) | citation_fields(self._citations)
        return {}

    def whole(self, events: Sequence[Event]) -> bytes:
        fold = Fold.of(list(events))
        calls = [call_fields(call, index) for index, call in enumerate(fold.calls)]
        fields = self._final(fold.done, fold.text, fold.thought, calls)
        fields |= logprob_fields(fold.tokens) | citation_fields(fold.citations)
        if fold.rendered is not None:
            fields["_debug_info"] = {"rendered_template": fold.rendered}
        return encode(fields)

    def _chunk(
        self, text: str = "", thought: str = "", calls: Sequence[dict[str, Any]] = ()
    ) -> dict[str, Any]:
        return {
            "model": self._model,
            "created_at": words.now(),
            **self._shape(text, thought, calls),
            "done": False,
        }

    def _final(
        self,
        done: GenerationDone,
        text: str = "",
        thought: str = "",
        calls: Sequence[dict[str, Any]] = (),
    ) -> dict[str, Any]:
        fields = self._chunk(text, thought, calls)
        fields |= {"done": True, "done_reason": words.done_reason(done)}
        if done.context:
            fields["context"] = list(done.context)
        if done.reason not in ("load", "unload"):
            fields |= words.metric_fields(done.usage)
        return fields | truncation_fields(done.usage) | warning_fields(done)


class ProgressAnswer(_Lines):
    """Of pull and create; not streamed it is the last line only."""

    def frame(self, event: Event) -> bytes:
        # The last word is said once, by Done.
        if isinstance(event, Progress) and event.status != "success":
            return encode(progress_fields(event)) + b"\n"
        if isinstance(event, Done):
            return self._success(event) + b"\n"
        return b""

    def whole(self, events: Sequence[Event]) -> bytes:
        return self._success(last_done(events))

    def _success(self, done: Done) -> bytes:
        return encode({"status": "success"} | warning_fields(done))


def progress_fields(progress: Progress) -> dict[str, Any]:
    fields: dict[str, Any] = {"status": progress.status}
    if progress.digest:
        fields["digest"] = progress.digest
    if progress.total_bytes:
        fields["total"] = progress.total_bytes
    if progress.completed_bytes:
        fields["completed"] = progress.completed_bytes
    return fields


def logprob_fields(tokens: Sequence[Token]) -> dict[str, Any]:
    """The `logprobs` of a chunk; nothing when none were asked for."""
    entries = []
    for token in tokens:
        if token.logprob is None:
            continue
        entry = _logprob(token.text, token.logprob)
        if token.top:
            entry["top_logprobs"] = [_logprob(t.text, t.logprob) for t in token.top]
        entries.append(entry)
    return {"logprobs": entries} if entries else {}


def _logprob(text: str, logprob: float) -> dict[str, Any]:
    entry: dict[str, Any] = {"token": text, "logprob": logprob}
    if text:
        entry["bytes"] = list(text.encode())
    return entry
