"""`{"name": ..., "arguments": {...}}` alone, also in an array or a code fence.

Only where an answer begins (or after another call): elsewhere JSON is something the model shows.
"""

from __future__ import annotations

import re

from dimora.prompts.tool_calls.base import Found, Verdict, read_closed, read_json_calls

OPENERS = ()
FIRST_OPENERS = ("{", "[", "```", ";", ",")
PREFILL = ""
ARGUMENTS = "arguments"

_FENCE = re.compile(r"```[a-z_]{0,12}+\s*+")


def score(template: str) -> int:
    return 0


def read(text: str, names: frozenset[str], ended: bool = False) -> Found | Verdict:
    """See the shelf."""
    fence = _FENCE.match(text)
    if fence is None:
        return read_json_calls(text, 1 if text[0] in ";," else 0, names)
    found = read_json_calls(text, fence.end(), names)
    return read_closed(text, found, "```", ended=ended)
