"""The types that flow through the house: Principal, Message, Request, Event, Done, Usage.

Everything asked is a `Request`, everything answered is `Event`s that end in one `Done`.
Tasks subclass `Request`, `Event` and `Done`; the tag of a Request is the name of its task's file.
Times are seconds, sizes are bytes.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Role = Literal["system", "user", "assistant", "tool"]
Proof = Literal["terminal", "loopback", "api_key"]


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, and how they proved it.

    `terminal` is the person whose process the house runs in, `loopback` is whoever reaches a
    loopback bind of a house without keys, `api_key` is the holder of a key from the settings.
    """

    user: str
    workspace: str
    roles: tuple[str, ...]
    proof: Proof


class Text(msgspec.Struct, frozen=True, tag_field="part", tag="text"):
    text: str


class Image(msgspec.Struct, frozen=True, tag_field="part", tag="image"):
    data: bytes


class Thought(msgspec.Struct, frozen=True, tag_field="part", tag="thought"):
    """What a thinking model wrote before its answer."""

    text: str


class ToolCall(msgspec.Struct, frozen=True, tag_field="part", tag="tool_call"):
    """A call the model makes. `arguments` keeps the key order of the model."""

    id: str
    name: str
    arguments: dict[str, Any]


class ToolResult(msgspec.Struct, frozen=True, tag_field="part", tag="tool_result"):
    text: str
    call_id: str = ""
    name: str = ""


Part = Text | Image | Thought | ToolCall | ToolResult


class Message(msgspec.Struct, frozen=True):
    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The visible words: text and tool results, not thoughts or calls."""
        return "".join(p.text for p in self.parts if isinstance(p, Text | ToolResult))


class Tool(msgspec.Struct, frozen=True):
    """A function the model may call; `parameters` is a JSON Schema object, order preserved."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer used. `prompt_tokens_original` counts the prompt before truncation."""

    prompt_tokens: int = 0
    prompt_tokens_original: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    queue_seconds: float = 0.0
    load_seconds: float = 0.0
    prompt_seconds: float = 0.0
    output_seconds: float = 0.0
    total_seconds: float = 0.0

    @property
    def truncated(self) -> bool:
        return self.prompt_tokens_original > self.prompt_tokens


class Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="request"):
    """What is asked. `model` is the name as the caller wrote it, empty where none is meant.

    `batch` requests wait behind interactive ones. `warnings` are what the dialect has to say
    about fields it read but cannot honour; they come back in `Done`.
    """

    model: str = ""
    batch: bool = False
    warnings: tuple[str, ...] = ()


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """One piece of an answer."""


class Queued(Event, frozen=True, tag="queued"):
    """The request waits; `place` counts from 1, the next to run."""

    place: int


class Progress(Event, frozen=True, tag="progress"):
    """How far a long job is. `completed_bytes` of `total_bytes` of the thing `digest` names."""

    status: str
    digest: str = ""
    total_bytes: int = 0
    completed_bytes: int = 0


class Done(Event, frozen=True, tag="done"):
    """The last event of every answer that did not fail."""

    reason: str = "stop"
    usage: Usage = Usage()
    warnings: tuple[str, ...] = ()


def kind_of(value: Request | Event) -> str:
    """The tag of a Request or Event; for a Request this is the name of its task."""
    return str(value.__struct_config__.tag)
