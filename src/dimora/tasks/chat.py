"""Answer a conversation."""

from __future__ import annotations

from typing import Literal

from dimora.core.types import Message, Tool
from dimora.tasks.generation import GenerationRequest

RIGHT = "use"


class Chat(GenerationRequest, frozen=True, kw_only=True, tag="chat"):
    """`tool_choice`: `auto`, `none`, `required`, or `named` with `tool_name`."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: Literal["auto", "none", "required", "named"] = "auto"
    tool_name: str = ""
    parallel_tool_calls: bool = True
