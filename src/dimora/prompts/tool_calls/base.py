"""What the formats share: the judgement, and calls written as JSON."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import Any

import msgspec

# The first key of an object that may be a call.
_FIRST_KEY = re.compile(r'\s*\{\s*"(?:name|arguments|parameters|type|function|id)"')
_LOOKS_AHEAD = 64
_STRUCTURE = re.compile(r'["{}\[\]]')
_KINDS = {bool: "boolean", int: "integer", float: "number", dict: "object", list: "array"}
# As a template in Python's ways shows these words to a model.
_PYTHON_WORDS = {"True": "true", "False": "false", "None": "null"}
_STRING_END = re.compile(r'(?:[^"\\]|\\.)*+"', re.DOTALL)


class Verdict(enum.Enum):
    MORE = "more"
    NO = "no"


class Found(msgspec.Struct, frozen=True):
    """Calls (name, arguments) in the first `end` characters of the text.

    `untyped` arguments are all text yet; `read_values` makes of them what the tool takes.
    """

    calls: tuple[tuple[str, dict[str, Any]], ...]
    end: int
    untyped: bool = False


def skip_space(text: str, at: int) -> int:
    """The first position from `at` that is no whitespace."""
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def read_json_calls(text: str, at: int, names: frozenset[str]) -> Found | Verdict:
    """Judge the JSON at `at`: one call object or an array of them, whitespace before it.

    A call is an object with the name of a known tool and an object of arguments.
    """
    start = skip_space(text, at)
    if start == len(text):
        return Verdict.MORE
    if not _may_be_call(text, start):
        return Verdict.NO
    end = find_json_end(text, start)
    if end is None:
        return Verdict.MORE
    calls = calls_of(text[start:end], names)
    return Found(calls, end) if calls else Verdict.NO


def _may_be_call(text: str, start: int) -> bool:
    """False as soon as the beginning of the JSON shows that it is no call."""
    if text[start] == "[":
        start = skip_space(text, start + 1)
        if start == len(text):
            return True
    if text[start] != "{":
        return False
    window = text[start : start + _LOOKS_AHEAD]
    key = skip_space(window, 1)
    if key < len(window) and window[key] != '"':
        return False
    closed = '"' in window[key + 1 :]
    return not (closed or len(window) == _LOOKS_AHEAD) or bool(_FIRST_KEY.match(window))


def find_json_end(text: str, start: int) -> int | None:
    """Where the object or array at `start` ends; None while it is open."""
    depth, at = 0, start
    while mark := _STRUCTURE.search(text, at):
        at = mark.end()
        if mark[0] == '"':
            closing = _STRING_END.match(text, at)
            if closing is None:
                return None
            at = closing.end()
            continue
        depth += 1 if mark[0] in "{[" else -1
        if depth == 0:
            return at
    return None


def calls_of(text: str, names: frozenset[str]) -> tuple[tuple[str, dict[str, Any]], ...]:
    """The calls a JSON text holds; none when any part of it is no call of a known tool."""
    value = decode(text)
    values = value if isinstance(value, list) else [value]
    calls = [_call_of(each, names) for each in values]
    return tuple(c for c in calls if c is not None) if None not in calls else ()


def decode(text: str) -> Any:
    """A JSON value, or None when the text is none (or nested beyond reason)."""
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return None


def _call_of(value: Any, names: frozenset[str]) -> tuple[str, dict[str, Any]] | None:
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("function"), dict):
        value = value["function"]
    name = value.get("name", value.get("function"))
    arguments = value.get("arguments", value.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = decode(arguments)
    if not isinstance(name, str) or name not in names or not isinstance(arguments, dict):
        return None
    return name, arguments


def read_closed(text: str, found: Found | Verdict, close: str, *, ended: bool) -> Found | Verdict:
    """Take in the closing tag after the calls, which a model may also leave out."""
    if not isinstance(found, Found):
        return found
    at = skip_space(text, found.end)
    rest = text[at : at + len(close)]
    if rest == close:
        return msgspec.structs.replace(found, end=at + len(close))
    if not ended and close.startswith(rest):
        return Verdict.MORE
    return found


def read_values(arguments: Mapping[str, str], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that were written as text, as the tool's JSON Schema wants them; text where it
    wants text, says nothing, or the text is nothing else."""
    told = schema.get("properties")
    properties = told if isinstance(told, dict) else {}
    return {name: _value_of(text, properties.get(name)) for name, text in arguments.items()}


def _value_of(text: str, schema: Any) -> Any:
    kinds = _kinds_of(schema)
    word = text.strip()
    value = decode(_PYTHON_WORDS.get(word, word))
    if value is None:
        return None if "null" in kinds and word in ("null", "None") else text
    kind = _KINDS.get(type(value), "")
    # A reference leads to an object, as good as always.
    wanted = kinds or {"object", "array"}
    return value if kind in wanted or (kind == "integer" and "number" in wanted) else text


def _kinds_of(schema: Any) -> set[str]:
    """The types that a schema names, its alternatives too; none where it names none."""
    kinds: set[str] = set()
    todo = [schema]
    while todo:
        each = todo.pop()
        if not isinstance(each, dict):
            continue
        named = each.get("type")
        kinds.update(
            k for k in (named if isinstance(named, list) else [named]) if isinstance(k, str)
        )
        for keyword in ("anyOf", "oneOf", "allOf"):
            todo.extend(each[keyword] if isinstance(each.get(keyword), list) else ())
    return kinds
