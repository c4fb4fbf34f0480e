"""The functions Go templates may call, and how Go writes and judges values."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from dimora.prompts.go_data import Thing
from dimora.prompts.limits import MAX_TEXT_BYTES, text_bytes


def is_true(value: Any) -> bool:
    return isinstance(value, Thing) or bool(value)


def write_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)


def _plain(value: Thing) -> Any:
    return value.plain


def _equal(first: Any, *others: Any) -> bool:
    return any(first == other for other in others)


def _length(value: Any) -> int:
    # Go counts bytes of a text.
    return len(value.encode()) if isinstance(value, str) else len(value)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, list) and (isinstance(key, bool) or key < 0):
            raise IndexError
        value = value.get(key) if isinstance(value, dict) else value[key]
    return value


def _slice(value: Any, start: int = 0, end: int | None = None) -> Any:
    end = len(value) if end is None else end
    if not 0 <= start <= end <= len(value):
        raise IndexError
    return value[start:end]


def _printf(form: str, *values: Any) -> str:
    waiting = list(values)

    def write(verb: re.Match[str]) -> str:
        if verb[0] == "%%":
            return "%"
        if verb[0] not in ("%s", "%d", "%v", "%q"):
            raise ValueError
        value = waiting.pop(0)
        return json.dumps(value, ensure_ascii=False) if verb[0] == "%q" else write_text(value)

    # So many verbs with so long values could outgrow every limit at once.
    if len(form) > 4096 or sum(text_bytes(write_text(v)) for v in values) > MAX_TEXT_BYTES:
        raise ValueError
    return re.sub(r"%.", write, form, flags=re.DOTALL)


def _print(*values: Any) -> str:
    """As Go: a space between two neighbours of which neither is text."""
    written = ""
    for at, value in enumerate(values):
        if at and not (isinstance(value, str) or isinstance(values[at - 1], str)):
            written += " "
        written += write_text(value)
    return written


def _day(days_ago: int) -> str:
    return (date.today() - timedelta(days=days_ago)).isoformat()


def _typescript(value: Any) -> str:
    kind = value.fields.get("Type") if isinstance(value, Thing) else value
    if isinstance(kind, list):
        return " | ".join(_typescript(each) for each in kind)
    known = {
        "integer": "number",
        "array": "any[]",
        "object": "Record<string, any>",
        "string": "string",
        "number": "number",
        "boolean": "boolean",
        "null": "null",
    }
    return known.get(str(kind), "any")


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "not": lambda value: not is_true(value),
    "eq": _equal,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "len": _length,
    "index": _index,
    "slice": _slice,
    "json": _json,
    "print": _print,
    "println": lambda *values: " ".join(write_text(v) for v in values) + "\n",
    "printf": _printf,
    "currentDate": lambda: _day(0),
    "yesterdayDate": lambda: _day(1),
    "toTypeScriptType": _typescript,
}
