"""`[TOOL_CALLS] [{"name": ..., "arguments": {...}}]`, or `[TOOL_CALLS]name[ARGS]{...}`: Mistral."""

from __future__ import annotations

import re

from dimora.prompts.tool_calls.base import (
    Found,
    Verdict,
    decode,
    find_json_end,
    read_json_calls,
    skip_space,
)

OPENERS = ("[TOOL_CALLS]",)
FIRST_OPENERS = ()
PREFILL = "[TOOL_CALLS] ["
ARGUMENTS = "arguments"

_NAME = re.compile(r"[\w.-]{0,128}+")
_MARK = "[ARGS]"


def score(template: str) -> int:
    return 3 if OPENERS[0] in template else 0


def read(text: str, names: frozenset[str], ended: bool = False) -> Found | Verdict:
    """See the shelf."""
    start = skip_space(text, len(OPENERS[0]))
    if start == len(text):
        return Verdict.MORE
    if text[start] in "[{":
        return read_json_calls(text, start, names)
    return _read_named(text, start, names)


def _read_named(text: str, start: int, names: frozenset[str]) -> Found | Verdict:
    """The newer form, where the name stands before the arguments."""
    match = _NAME.match(text, start)
    at = match.end() if match else start
    name = text[start:at]
    if at == len(text):
        return Verdict.MORE if any(n.startswith(name) for n in names) else Verdict.NO
    if name not in names:
        return Verdict.NO
    if text.startswith(_MARK, at):
        at += len(_MARK)
    elif _MARK.startswith(text[at:]):
        return Verdict.MORE
    at = skip_space(text, at)
    if at == len(text):
        return Verdict.MORE
    if text[at] != "{":
        return Verdict.NO
    end = find_json_end(text, at)
    if end is None:
        return Verdict.MORE
    arguments = decode(text[at:end])
    return Found(((name, arguments),), end) if isinstance(arguments, dict) else Verdict.NO
