"""Finds how a model marks its thoughts, from what its template says."""

from __future__ import annotations

import msgspec


class Thinking(msgspec.Struct, frozen=True):
    """The tags around a thought."""

    open: str
    close: str


# Surest first. A template that shows only the closing tag takes thoughts out of old turns.
_KNOWN = (
    Thinking("<think>", "</think>"),
    Thinking("[THINK]", "[/THINK]"),
    Thinking("<|START_THINKING|>", "<|END_THINKING|>"),
    Thinking("<seed:think>", "</seed:think>"),
    Thinking("<thinking>", "</thinking>"),
    Thinking("<reasoning>", "</reasoning>"),
)


def thinking_of(source: str) -> Thinking | None:
    """The tags of the thoughts of the model with this template; None when it does not think."""
    for thinking in _KNOWN:
        if thinking.close in source:
            return thinking
    return None
