"""Which JSON Schemas an answer can be held to, and whether a finished answer keeps one.

The list of keywords is closed: an engine's grammar enforces each of them, so that no schema is
accepted that would only be hoped for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from dimora.core.errors import BadRequest

_MAX_DEPTH = 32
_MAX_PLACES = 4000
_MAX_BYTES = 256 * 1024
_MAX_PATTERN = 500
# Grammars write a repetition out: large bounds make grammars that no engine can build.
_MAX_REPEAT = 10_000

_TYPES = frozenset({"string", "number", "integer", "boolean", "null", "object", "array"})
_FORMATS = frozenset({"date", "time", "date-time", "uuid"})
_ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "$schema", "$id", "$comment"}
)
_DEFINITIONS = ("$defs", "definitions")
# These are alternatives to everything else: a grammar would follow one and forget the rest.
_ALONE = ("$ref", "anyOf", "oneOf", "allOf")
_KEYWORDS = frozenset(
    {
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "prefixItems",
        "enum",
        "const",
        "minItems",
        "maxItems",
        "minLength",
        "maxLength",
        "pattern",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "format",
        *_ALONE,
        *_DEFINITIONS,
        *_ANNOTATIONS,
    }
)
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength")
_LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def check_schema(schema: Any) -> dict[str, Any]:
    """The schema itself, when every engine with a grammar can hold an answer to it.

    Raises:
        BadRequest: code `unsupported_schema`; names the keyword and its place.
    """
    if not isinstance(schema, dict):
        raise _refused("the schema", "must be an object")
    _check_size(schema)
    _Check(schema).run()
    return schema


def _check_size(schema: dict[str, Any]) -> None:
    try:
        size = len(msgspec.json.encode(schema))
    except (TypeError, ValueError, RecursionError):
        raise _refused("the schema", "is no JSON, or nested too deep") from None
    if size > _MAX_BYTES:
        raise _refused("the schema", f"has {size} bytes; {_MAX_BYTES} are the most")


def _refused(place: str, why: str) -> BadRequest:
    return BadRequest(
        f"unsupported JSON schema: {place} {why}",
        hint="write the schema with types, properties, items, enum, anyOf and the like",
        code="unsupported_schema",
        param="format",
    )


class _Check:
    """One walk over a schema."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._places = 0

    def run(self) -> None:
        self._visit(self._root, "#", 0)

    def _visit(self, schema: Any, place: str, depth: int) -> None:
        self._places += 1
        if depth > _MAX_DEPTH:
            raise _refused(_short(place), f"is nested more than {_MAX_DEPTH} deep")
        if self._places > _MAX_PLACES:
            raise _refused("the schema", f"has more than {_MAX_PLACES} parts")
        if isinstance(schema, bool):
            raise _refused(_short(place), "is true or false instead of a schema")
        if not isinstance(schema, dict):
            raise _refused(_short(place), "is no schema")
        for keyword in schema:
            if keyword not in _KEYWORDS:
                raise _refused(_short(place), f"uses {keyword[:40]!r}, which cannot be enforced")
        self._check_alone(schema, place)
        self._check_type(schema, place)
        self._check_values(schema, place)
        self._check_numbers(schema, place)
        self._check_text(schema, place)
        self._check_object(schema, place)
        self._check_reference(schema, place)
        for child, at in _children(schema, place):
            self._visit(child, at, depth + 1)

    def _check_alone(self, schema: dict[str, Any], place: str) -> None:
        loners = [k for k in _ALONE if k in schema]
        if not loners:
            return
        others = set(schema) - _ANNOTATIONS - set(_DEFINITIONS) - {loners[0], "type"}
        if others:
            raise _refused(
                _short(place), f"has {loners[0]!r} together with {min(others)!r}: only one can hold"
            )
        if loners[0] == "$ref":
            return
        options = schema[loners[0]]
        if not isinstance(options, list) or not options:
            raise _refused(_short(place), f"has no list of schemas in {loners[0]!r}")
        if loners[0] == "allOf" and len(options) > 1:
            raise _refused(_short(place), "has 'allOf' with more than one schema")

    def _check_type(self, schema: dict[str, Any], place: str) -> None:
        kinds = schema.get("type", "string")
        listed = kinds if isinstance(kinds, list) else [kinds]
        if not listed or not all(isinstance(k, str) and k in _TYPES for k in listed):
            raise _refused(_short(place), "has a 'type' that JSON Schema does not know")

    def _check_values(self, schema: dict[str, Any], place: str) -> None:
        values = schema.get("enum", [None])
        if not isinstance(values, list) or not values:
            raise _refused(_short(place), "has an 'enum' without values")
        if "prefixItems" in schema and not (
            isinstance(schema["prefixItems"], list) and schema["prefixItems"]
        ):
            raise _refused(_short(place), "has no list of schemas in 'prefixItems'")

    def _check_numbers(self, schema: dict[str, Any], place: str) -> None:
        for keyword in _COUNTS:
            count = schema.get(keyword, 0)
            if type(count) is not int or not 0 <= count <= _MAX_REPEAT:
                raise _refused(
                    _short(place), f"needs a {keyword!r} from 0 to {_MAX_REPEAT}, a whole number"
                )
        for keyword in _LIMITS:
            if type(schema.get(keyword, 0)) not in (int, float):
                raise _refused(_short(place), f"has a {keyword!r} that is no number")
        for least, most in (("minItems", "maxItems"), ("minLength", "maxLength")):
            if schema.get(least, 0) > schema.get(most, _MAX_REPEAT):
                raise _refused(_short(place), f"has {least!r} above {most!r}")

    def _check_text(self, schema: dict[str, Any], place: str) -> None:
        if schema.get("format", "date") not in tuple(_FORMATS):
            raise _refused(
                _short(place), "has a 'format' other than " + ", ".join(sorted(_FORMATS))
            )
        if "pattern" in schema:
            why = _pattern_flaw(schema["pattern"])
            if why:
                raise _refused(_short(place), f"has a 'pattern' that {why}")

    def _check_object(self, schema: dict[str, Any], place: str) -> None:
        properties = schema.get("properties", {})
        if not isinstance(properties, dict):
            raise _refused(_short(place), "has 'properties' that are no object")
        for keyword in _DEFINITIONS:
            if not isinstance(schema.get(keyword, {}), dict):
                raise _refused(_short(place), f"has {keyword!r} that are no object")
        required = schema.get("required", [])
        if not isinstance(required, list) or not all(isinstance(r, str) for r in required):
            raise _refused(_short(place), "has no list of names in 'required'")
        if not set(required) <= set(properties):
            raise _refused(_short(place), "has a name in 'required' that is not in 'properties'")

    def _check_reference(self, schema: dict[str, Any], place: str) -> None:
        """A reference must lead to a schema here, and not round in circles."""
        seen: set[str] = set()
        while isinstance(schema, dict) and "$ref" in schema:
            reference = schema["$ref"]
            if not isinstance(reference, str) or not reference.startswith("#"):
                raise _refused(_short(place), "has a '$ref' that leaves the schema")
            if reference in seen:
                raise _refused(_short(place), "has a '$ref' that leads back to itself")
            seen.add(reference)
            schema = self._resolve(reference, place)

    def _resolve(self, reference: str, place: str) -> dict[str, Any]:
        found: Any = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, dict) else None
        if not isinstance(found, dict) or not reference.startswith(("#/$defs/", "#/definitions/")):
            if reference == "#":
                return self._root
            raise _refused(_short(place), "has a '$ref' to something outside '$defs'")
        return found


def _children(schema: dict[str, Any], place: str) -> Iterator[tuple[Any, str]]:
    for keyword in ("properties", *_DEFINITIONS):
        for name, child in schema.get(keyword, {}).items():
            yield child, f"{place}/{keyword}/{name}"
    for keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for at, child in enumerate(schema.get(keyword, [])):
            yield child, f"{place}/{keyword}/{at}"
    for keyword in ("items", "additionalProperties"):
        # Plain true and false are how these two are mostly written, and grammars know them.
        if keyword in schema and not (
            keyword == "additionalProperties" and isinstance(schema[keyword], bool)
        ):
            yield schema[keyword], f"{place}/{keyword}"


def _short(place: str) -> str:
    return place if len(place) <= 120 else f"{place[:60]}...{place[-50:]}"


def _pattern_flaw(pattern: Any) -> str:
    """Why a grammar cannot follow this regular expression; empty when it can."""
    if not isinstance(pattern, str) or len(pattern) > _MAX_PATTERN:
        return f"is no text of at most {_MAX_PATTERN} characters"
    if not (pattern.startswith("^") and pattern.endswith("$")) or pattern.endswith(r"\$"):
        return "does not begin with ^ and end with $"
    if re.search(r"\(\?(?!:)|\\[bBAZGpPk1-9]", pattern):
        return "looks around, names groups or refers back"
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return "is no regular expression"
    return ""


def violation(text: str, schema: dict[str, Any]) -> str:
    """Why the text does not match the schema, without any of its words; empty when it does."""
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return "it is not valid JSON"
    # Takes a tenth of a second to import; only answers with a schema need it.
    from jsonschema import Draft202012Validator

    try:
        error = next(Draft202012Validator(_checkable(schema)).iter_errors(value), None)
    except RecursionError:
        return "it is nested too deep"
    if error is None:
        return ""
    where = "/".join(str(step) for step in error.absolute_schema_path)
    return f"it breaks #/{_short(where)}"


def _checkable(schema: Any) -> Any:
    """The schema without patterns that could take a regular expression engine for ever, and
    without names of its own, which would change where its references lead.

    Python's engine tries every way to split a text, so two repetitions are as many as are safe;
    the grammar, which does not go back, has held the answer to the others already.
    """
    return without_keywords(
        schema,
        lambda keyword, value: (
            keyword in ("$id", "$schema") or (keyword == "pattern" and not _is_quick(value))
        ),
    )


def without_keywords(schema: Any, drops: Callable[[str, Any], bool], *, named: bool = False) -> Any:
    """The schema, and all schemas in it, without the keywords that `drops` names by keyword and
    value. `named` is for what has schemas by names of its own: one may well be called `format`."""
    if isinstance(schema, list):
        return [without_keywords(each, drops) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {}
    for name, value in schema.items():
        if named:
            kept[name] = without_keywords(value, drops)
        elif name in ("enum", "const", "default", "examples"):
            kept[name] = value
        elif name in ("properties", *_DEFINITIONS):
            kept[name] = without_keywords(value, drops, named=True)
        elif not drops(name, value):
            kept[name] = without_keywords(value, drops)
    return kept


def _is_quick(pattern: str) -> bool:
    plain = re.sub(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", "x", pattern)
    return len(re.findall(r"[*+{]", plain)) <= 2 and not re.search(r"\)[*+{]", plain)
