"""Reads a JSON body into a typed struct, and says which of its fields mean nothing.

Shared by the JSON dialects; not a dialect itself.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import inspect as types

from dimora.core.durations import bounded, parse_duration
from dimora.core.errors import BadRequest
from dimora.tasks.options import Options, options_from

T = TypeVar("T")

# Whole numbers beyond this cannot cross MessagePack to a worker.
_INTEGER_LIMIT = 2**63
# A caller's own words in a message are cut here: enough to recognise them.
_QUOTE_CHARACTERS = 200
_WARNINGS_AT_MOST = 20
_WHERE = re.compile(r" - at `\$\.?(.*)`$")


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """The base of every JSON object a dialect reads. `null` is the same as absent."""


class BodyReader(Generic[T]):
    """Reads bodies of one type. Make it once, where the module begins."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._shape = types.type_info(kind)

    def read(self, body: bytes) -> tuple[T, tuple[str, ...]]:
        """The body, and a warning for each field that no struct here knows.

        Raises:
            BadRequest: the body is empty, not JSON, not UTF-8, or a value has the wrong type;
                the message names the field and never holds its value.
        """
        return self.read_value(decode_json(body))

    def read_value(self, raw: Any) -> tuple[T, tuple[str, ...]]:
        """The same of what was decoded before."""
        unknown: list[str] = []
        try:
            settled = _settle(raw, self._shape, "", unknown)
            value = msgspec.convert(settled, self._kind)
        except msgspec.ValidationError as why:
            raise _type_error(why) from None
        extra = len(unknown) - _WARNINGS_AT_MOST
        warnings = [f"field {quote(n)} is not known and was ignored" for n in unknown]
        if extra > 0:
            del warnings[_WARNINGS_AT_MOST:]
            warnings.append(f"{extra} more unknown fields were ignored")
        return value, tuple(warnings)


def decode_json(body: bytes) -> Any:
    """A JSON value. Raises BadRequest in the words of the wire contract."""
    if not body.strip():
        raise BadRequest("missing request body")
    try:
        return msgspec.json.decode(body)
    except msgspec.ValidationError as why:
        raise _type_error(why) from None
    except msgspec.DecodeError as why:
        raise BadRequest(str(why)) from None
    except UnicodeDecodeError:
        raise BadRequest("the request body is not valid UTF-8") from None
    except RecursionError:
        raise BadRequest("the request body is nested too deeply") from None


def _type_error(why: msgspec.ValidationError) -> BadRequest:
    found = _WHERE.search(str(why))
    return BadRequest(str(why), param=found[1] if found and found[1] else None)


def _settle(value: Any, kind: types.Type, path: str, unknown: list[str]) -> Any:
    """`value` without its nulls and unknown fields, wherever `kind` is a struct of ours."""
    if isinstance(kind, types.UnionType):
        wanted = types.StructType if isinstance(value, dict) else types.ListType
        kind = next((k for k in kind.types if isinstance(k, wanted)), kind)
    if isinstance(kind, types.ListType) and isinstance(value, list):
        return [_settle(v, kind.item_type, f"{path}[{at}]", unknown) for at, v in enumerate(value)]
    if not (isinstance(kind, types.StructType) and isinstance(value, dict)):
        return value
    fields = {f.encode_name: f.type for f in kind.fields}
    settled = {}
    for name, inner in value.items():
        here = f"{path}.{name}" if path else name
        if name not in fields:
            unknown.append(here)
        elif inner is not None:
            settled[name] = _settle(inner, fields[name], here, unknown)
    return settled


def quote(words: Any) -> str:
    """A caller's words between single quotes, printable and not too long."""
    text = str(words)
    if len(text) > _QUOTE_CHARACTERS:
        text = text[:_QUOTE_CHARACTERS] + "…"
    return "'" + "".join(c if c.isprintable() else "�" for c in text) + "'"


def keep_alive_from(value: Any) -> float | None:
    """Seconds of a `keep_alive` field: a number, or a duration string such as `10m`.

    FOREVER as `bounded` has it; absent is None. A bare number in a string is an error, as in Go.

    Raises:
        BadRequest: it is neither, or not a duration.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        word = {bool: "boolean", list: "array", dict: "object"}.get(type(value), "value")
        raise BadRequest(f"Unsupported type: '{word}'", param="keep_alive")
    if isinstance(value, str):
        try:
            return parse_duration(value)
        except ValueError:
            raise BadRequest(
                f"invalid keep_alive {quote(value)}: write it like 30s, 5m or 1h30m",
                param="keep_alive",
            ) from None
    return bounded(value)


def read_options(values: Mapping[str, Any]) -> tuple[Options, tuple[str, ...]]:
    """Options and warnings as `tasks.options` reads them, with numbers a worker can take.

    Raises:
        BadRequest: a value has the wrong type, or is out of all range.
    """
    try:
        options, warnings = options_from(values)
    except OverflowError:
        raise BadRequest("an option is a number out of range", param="options") from None
    for name, value in options.as_dict().items():
        check_integer(value, name)
    return options, tuple(w[:_QUOTE_CHARACTERS] for w in warnings[:_WARNINGS_AT_MOST])


def check_integer(value: Any, name: str) -> None:
    """Raises BadRequest for a whole number that no machine word holds."""
    if isinstance(value, int) and not -_INTEGER_LIMIT <= value < _INTEGER_LIMIT:
        raise BadRequest(f'option "{name}" is out of range', param=name)


def read_base64(text: str, name: str) -> bytes:
    """Standard base64. Raises BadRequest that names the field."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest(
            f"{name} is not standard base64",
            hint="send the bytes of the file as base64, without a data: prefix",
            param=name,
        ) from None


def read_json_schema(value: Any) -> dict[str, Any] | None:
    """The JSON Schema of an Ollama `format` field; None when it asks for nothing.

    Raises:
        BadRequest: it is neither `json` nor an object.
    """
    if value is None or value == "":
        return None
    if value == "json":
        return {"type": "object"}
    if isinstance(value, dict):
        return value
    shown = msgspec.json.encode(value).decode()[:_QUOTE_CHARACTERS]
    quoted = msgspec.json.encode(shown).decode()
    raise BadRequest(
        f'invalid format: {quoted}; expected "json" or a valid JSON Schema object', param="format"
    )


def read_input_role(value: str) -> Any:
    """`query`, `passage` or empty. Raises BadRequest for anything else."""
    if value not in ("", "query", "passage"):
        raise BadRequest('input_type must be "query" or "passage"', param="input_type")
    return value
