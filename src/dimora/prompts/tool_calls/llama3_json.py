"""`{"name": ..., "parameters": {...}}`, perhaps after `<|python_tag|>`: Llama 3.1 and later."""

from __future__ import annotations

from dimora.prompts.tool_calls.base import Found, Verdict, read_json_calls

OPENERS = ("<|python_tag|>",)
FIRST_OPENERS = ("{", ";")
PREFILL = ""
ARGUMENTS = "parameters"


def score(template: str) -> int:
    if "<|start_header_id|>" not in template:
        return 0
    return 2 if "parameters" in template else 0


def read(text: str, names: frozenset[str], ended: bool = False) -> Found | Verdict:
    """See the shelf."""
    at = len(OPENERS[0]) if text.startswith(OPENERS[0]) else 0
    return read_json_calls(text, at + 1 if text[at:].startswith(";") else at, names)
