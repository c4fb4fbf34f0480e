"""`/v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dimora.core.errors import BadRequest, DimoraError
from dimora.core.types import Event, Queued, ToolCall
from dimora.dialects._body import BodyReader
from dimora.dialects._tools import ToolBody, read_tool_choice, read_tools, tool_conflicts
from dimora.dialects._writing import citation_fields, encode, warning_fields
from dimora.dialects.base import Asked, Incoming
from dimora.dialects.openai import words
from dimora.dialects.openai.controls import ControlsBody, read_controls
from dimora.dialects.openai.messages import MessageBody, read_messages
from dimora.dialects.openai.words import Heading
from dimora.tasks.chat import Chat
from dimora.tasks.generation import (
    CallPiece,
    Fold,
    GenerationDone,
    TextPiece,
    ThoughtPiece,
)
from dimora.tasks.knowing import Citation


class ChatBody(ControlsBody, frozen=True, kw_only=True):
    messages: list[MessageBody] = []
    max_completion_tokens: int | None = None
    tools: list[ToolBody] = []
    tool_choice: Any = None
    parallel_tool_calls: bool = True
    logprobs: bool = False
    top_logprobs: int = 0


_CHAT = BodyReader(ChatBody)


def decode_chat(incoming: Incoming) -> Asked:
    """Raises BadRequest."""
    body, warnings = _CHAT.read(incoming.body)
    if not body.model:
        raise BadRequest("model is required", param="model")
    if not body.messages:
        raise BadRequest("[] is too short - 'messages'", param="messages")
    if not 0 <= body.top_logprobs <= 20:
        raise BadRequest("top_logprobs must be between 0 and 20", param="top_logprobs")
    limit = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    controls, about_controls = read_controls(body, limit)
    messages, about_messages = read_messages(body.messages)
    tools, about_tools = read_tools(body.tools)
    choice = read_tool_choice(body.tool_choice)
    about_tools += tool_conflicts(tools, choice.choice, controls["json_schema"])
    request = Chat(
        **controls,
        warnings=(*warnings, *about_controls, *about_messages, *about_tools, *_conflicts(body)),
        messages=messages,
        tools=tools,
        tool_choice=choice.choice,
        tool_name=choice.name,
        parallel_tool_calls=body.parallel_tool_calls,
        logprobs=body.top_logprobs if body.logprobs else None,
    )
    streaming = body.stream and not body.render_only
    answer = ChatAnswer(
        body.model,
        streaming=streaming,
        include_usage=body.stream_options.include_usage,
        want_logprobs=body.logprobs,
    )
    return Asked(request, answer)


def _conflicts(body: ChatBody) -> tuple[str, ...]:
    found = []
    if body.max_completion_tokens is not None and body.max_tokens not in (
        None,
        body.max_completion_tokens,
    ):
        found.append("field 'max_tokens' was ignored: max_completion_tokens says otherwise")
    if body.top_logprobs and not body.logprobs:
        found.append("field 'top_logprobs' was ignored: it needs logprobs to be true")
    return tuple(found)


class ChatAnswer:
    """One answer; keeps its id, its time, and whether the role was said."""

    def __init__(
        self, model: str, *, streaming: bool, include_usage: bool, want_logprobs: bool
    ) -> None:
        self.streaming = streaming
        self.media_type = words.EVENTS if streaming else words.JSON
        kind = "chat.completion.chunk" if streaming else "chat.completion"
        self._heading = Heading(f"chatcmpl-{words.make_id()}", kind, words.now_seconds(), model)
        self._include_usage = include_usage
        self._want_logprobs = want_logprobs
        self._citations: list[Citation] = []
        self._begun = False

    def frame(self, event: Event) -> bytes:
        match event:
            case Queued(place=place):
                return f": queued place {place}\n\n".encode()
            case TextPiece(text=text, tokens=tokens):
                logprobs = words.logprob_content(tokens)
                return self._delta({"content": text}, logprobs) if text or logprobs else b""
            case ThoughtPiece(text=text):
                return self._delta({"reasoning": text}) if text else b""
            case CallPiece(index=index, call=call):
                return self._delta({"tool_calls": [{"index": index, **_call_fields(call)}]})
            case Citation():
                # Told with the last chunk.
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
        message: dict[str, Any] = {"role": "assistant", "content": fold.text}
        if fold.calls and not fold.text:
            message["content"] = None
        if fold.thought:
            message["reasoning"] = fold.thought
        if fold.calls:
            message["tool_calls"] = [
                {"index": index, **_call_fields(call)} for index, call in enumerate(fold.calls)
            ]
        choice: dict[str, Any] = {
            "index": 0,
            "message": message,
            "finish_reason": words.finish_reason(fold.done),
        }
        if self._want_logprobs:
            choice["logprobs"] = {"content": words.logprob_content(fold.tokens)}
        fields = self._heading.fields() | {
            "choices": [choice],
            "usage": words.usage_fields(fold.done.usage),
        }
        if fold.rendered is not None:
            fields["_debug_info"] = {"rendered_template": fold.rendered}
        return encode(fields | citation_fields(fold.citations) | warning_fields(fold.done))

    def _begin(self) -> bytes:
        """The role, once, before everything else."""
        if self._begun:
            return b""
        self._begun = True
        return self._chunk({"role": "assistant", "content": ""})

    def _delta(self, delta: dict[str, Any], logprobs: Sequence[dict[str, Any]] = ()) -> bytes:
        return self._begin() + self._chunk(delta, logprobs=logprobs)

    def _chunk(
        self,
        delta: dict[str, Any],
        *,
        logprobs: Sequence[dict[str, Any]] = (),
        finish_reason: str | None = None,
        extra: dict[str, Any] | None = None,
    ) -> bytes:
        choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        if logprobs:
            choice["logprobs"] = {"content": list(logprobs)}
        fields = self._heading.fields() | {"choices": [choice]}
        if self._include_usage:
            fields["usage"] = None
        return words.frame(fields | (extra or {}))

    def _finish(self, done: GenerationDone) -> bytes:
        frames = self._begin() + self._chunk(
            {},
            finish_reason=words.finish_reason(done),
            extra=citation_fields(self._citations) | warning_fields(done),
        )
        if self._include_usage:
            usage = words.usage_fields(done.usage)
            frames += words.frame(self._heading.fields() | {"choices": [], "usage": usage})
        return frames + words.END


def _call_fields(call: ToolCall) -> dict[str, Any]:
    arguments = msgspec.json.encode(call.arguments).decode()
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }
