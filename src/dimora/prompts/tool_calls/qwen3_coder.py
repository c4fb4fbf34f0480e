"""`<tool_call><function=NAME><parameter=KEY>value</parameter></function></tool_call>`: Qwen3-Coder.

Values are text between the tags; the tool's schema says which of them are more than that. A forced
call is JSON, since that is what a schema can hold.
"""

from __future__ import annotations

import re

from dimora.prompts.tool_calls.base import (
    Found,
    Verdict,
    read_closed,
    read_json_calls,
    skip_space,
)

# Models forget the first of the two at times.
OPENERS = ("<tool_call>", "<function=")
FIRST_OPENERS = ()
PREFILL = "<tool_call>\n"
ARGUMENTS = "arguments"

_FUNCTION, _PARAMETER = OPENERS[1], "<parameter="
_END = "</function>"
# A value may hold the closing tag itself, such as code does: what comes after tells.
_WHOLE_PARAMETER = re.compile(
    r"<parameter=([^<>\n]{1,200}+)>\n?+(.*?)\n?</parameter>\s*+(?=<parameter=|</function>)",
    re.DOTALL,
)


def score(template: str) -> int:
    return 4 if _FUNCTION in template and _PARAMETER in template else 0


def read(text: str, names: frozenset[str], ended: bool = False) -> Found | Verdict:
    """See the shelf."""
    start = skip_space(text, len(OPENERS[0])) if text.startswith(OPENERS[0]) else 0
    if _FUNCTION.startswith(text[start:]):
        return Verdict.MORE
    if text.startswith(_FUNCTION, start):
        found = _read_function(text, start + len(_FUNCTION), names)
    else:
        found = read_json_calls(text, start, names)
    return read_closed(text, found, "</tool_call>", ended=ended)


def _read_function(text: str, at: int, names: frozenset[str]) -> Found | Verdict:
    """Judge from the function's name on."""
    end = text.find(">", at)
    if end < 0:
        return Verdict.MORE if any(n.startswith(text[at:]) for n in names) else Verdict.NO
    name = text[at:end]
    if name not in names:
        return Verdict.NO
    arguments: dict[str, str] = {}
    at = skip_space(text, end + 1)
    if text.startswith(_PARAMETER, at) and text.find(_END, at) < 0:
        # Long values come in many pieces: they are not gone through for each.
        return Verdict.MORE
    while parameter := _WHOLE_PARAMETER.match(text, at):
        arguments[parameter[1]] = parameter[2]
        at = parameter.end()
    if text.startswith(_END, at):
        return Found(((name, arguments),), at + len(_END), untyped=True)
    begun = text.startswith(_PARAMETER, at)
    if begun or _PARAMETER.startswith(text[at:]) or _END.startswith(text[at:]):
        return Verdict.MORE
    return Verdict.NO
