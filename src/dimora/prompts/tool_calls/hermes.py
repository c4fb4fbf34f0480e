"""`<tool_call>{"name": ..., "arguments": {...}}</tool_call>`: Hermes, Qwen and many others."""

from __future__ import annotations

from dimora.prompts.tool_calls.base import Found, Verdict, read_closed, read_json_calls

OPENERS = ("<tool_call>",)
FIRST_OPENERS = ()
PREFILL = "<tool_call>\n"
ARGUMENTS = "arguments"


def score(template: str) -> int:
    return 3 if OPENERS[0] in template else 0


def read(text: str, names: frozenset[str], ended: bool = False) -> Found | Verdict:
    """See the shelf."""
    found = read_json_calls(text, len(OPENERS[0]), names)
    return read_closed(text, found, "</tool_call>", ended=ended)
