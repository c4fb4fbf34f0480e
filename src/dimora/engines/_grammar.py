"""A JSON Schema as a GBNF grammar, the same for every engine that can hold an answer to one.

Own instead of the engines' own: those let numbers leave their limits, or white space go on for
ever, where a small model never comes back from. Everything that matches the grammar matches the
schema; not everything that matches the schema can be written: members come in the order of
`properties`, and others only where `additionalProperties` asks for them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from dimora.core.errors import UnsupportedFeature
from dimora.engines._digits import INTEGER, NUMBER, numbers_between
from dimora.engines._letters import (
    NOT_PLAIN,
    char_class,
    character,
    complement,
    literal,
    subtract,
)
from dimora.engines._patterns import UnknownPattern, pattern_grammar

Schema = dict[str, Any]

# Engines limit how often one thing is repeated; longer runs are made of shorter ones.
_RUN = 1000
_SHORT_RUN = 50
_ANY = ("object", "array", "string", "number", "boolean", "null")
# Tabs and the ends of lines are text too, other controls are not.
_CONTROLS = [(0x00, 0x08), (0x0B, 0x1F), (0x7F, 0x9F)]
_FORMATS = {
    "date": "date",
    "time": "time",
    "date-time": 'date "T" time',
    "uuid": 'hex{8} "-" hex{4} "-" hex{4} "-" hex{4} "-" hex{12}',
}
_BASE = {
    "hex": "[0-9a-fA-F]",
    # No escape makes half of a surrogate pair: that would be no text.
    "char": (
        character(complement(_CONTROLS)) + ' | "\\\\u" ([0-9a-cA-CefEF] hex{3} | [dD] [0-7] hex{2})'
    ),
    "string": '"\\"" char* "\\""',
    "integer": INTEGER,
    "number": NUMBER,
    "boolean": '"true" | "false"',
    "null": '"null"',
    "value": " | ".join(_ANY),
    "object": '"{" (pair (", " pair)*)? "}"',
    "pair": 'string ": " value',
    "array": '"[" (value (", " value)*)? "]"',
    "date": (
        '[0-9]{4} "-" (("0" [1-9] | "1" [0-2]) "-" day28'
        ' | ("0" [13-9] | "1" [0-2]) ("-29" | "-30") | ("0" [13578] | "1" [02]) "-31")'
    ),
    "day28": '"0" [1-9] | "1" [0-9] | "2" [0-8]',
    "time": (
        '("0" [0-9] | "1" [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{1,6})?'
        ' ("Z" | [-+] ("0" [0-9] | "1" [0-3]) ":" [0-5] [0-9])'
    ),
}
_HINTS = {
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems"),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
}


def schema_grammar(schema: Schema) -> str:
    """The grammar; its first rule is `root`.

    Raises UnsupportedFeature when nothing, or nothing that can be written down, matches.
    """
    writer = _Writer(schema)
    try:
        writer.rules["root"] = writer.of(schema)
    except UnknownPattern as why:
        raise _unsupported(str(why)) from None
    return "".join(f"{name} ::= {rule}\n" for name, rule in writer.rules.items())


def _unsupported(why: str) -> UnsupportedFeature:
    return UnsupportedFeature(
        f"unsupported JSON schema: {why}", code="unsupported_schema", param="format"
    )


class _Writer:
    """Turns schemas into rules; every method gives an expression."""

    def __init__(self, root: Schema) -> None:
        self.rules: dict[str, str] = {"root": ""} | _BASE
        self._root = root
        self._references: dict[str, str] = {}
        self._makers: dict[str, Callable[[Schema], str]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "number": lambda schema: self._number(schema, whole=False),
            "integer": lambda schema: self._number(schema, whole=True),
        }

    def of(self, schema: Schema) -> str:
        """The name of a rule for the schema."""
        if "$ref" in schema:
            return self._reference(schema["$ref"])
        if "const" in schema:
            return self._rule(_value(schema["const"]))
        if "enum" in schema:
            return self._rule(" | ".join(_value(v) for v in schema["enum"]))
        for word in ("anyOf", "oneOf", "allOf"):
            if word in schema:
                return self._rule(" | ".join(self._choice(schema, s) for s in schema[word]))
        kinds = _kinds(schema)
        return self._rule(" | ".join(self._kind(kind, schema) for kind in kinds))

    def _choice(self, schema: Schema, choice: Schema) -> str:
        """A type said outside holds for every choice that says none itself."""
        if "type" in schema and "type" not in choice and "$ref" not in choice:
            return self.of({**choice, "type": schema["type"]})
        return self.of(choice)

    def _kind(self, kind: str, schema: Schema) -> str:
        maker = self._makers.get(kind)
        return maker(schema) if maker else kind

    def _rule(self, expression: str) -> str:
        name = f"r{len(self.rules)}"
        self.rules[name] = expression
        return name

    def _reference(self, path: str) -> str:
        name = self._references.get(path)
        if name is None:
            name = self._references[path] = self._rule("")
            self.rules[name] = self.of(self._resolve(path))
        return name

    def _resolve(self, path: str) -> Schema:
        found: Any = self._root
        for step in path.removeprefix("#").split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            found = found.get(step) if isinstance(found, dict) else None
        if not isinstance(found, dict):
            raise _unsupported("a '$ref' leads nowhere")
        return found

    def _string(self, schema: Schema) -> str:
        if "pattern" in schema:
            return f"{literal(chr(34))} {pattern_grammar(schema['pattern'])} {literal(chr(34))}"
        if "format" in schema:
            return f'"\\"" {_FORMATS[schema["format"]]} "\\""'
        least, most = schema.get("minLength", 0), schema.get("maxLength")
        if not least and most is None:
            return "string"
        return f'"\\"" {self._run("char", least, most)} "\\""'

    def _number(self, schema: Schema, *, whole: bool) -> str:
        low = _limit(schema, "minimum", "exclusiveMinimum", whole=whole)
        high = _limit(schema, "maximum", "exclusiveMaximum", whole=whole)
        if low is None and high is None:
            return "integer" if whole else "number"
        try:
            return f"({numbers_between(low, high, whole=whole)})"
        except ValueError as why:
            raise _unsupported(str(why)) from None

    def _array(self, schema: Schema) -> str:
        prefix = [self.of(s) for s in schema.get("prefixItems", ())]
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        if prefix and "items" not in schema:
            most = len(prefix) if most is None else min(most, len(prefix))
        item = self.of(schema["items"]) if "items" in schema else "value"
        if most == 0:
            return '"[]"'
        if most is not None and least > most:
            raise _unsupported("an array has fewer items than it needs")
        return f'"[" {self._items(prefix, item, least, most)} "]"'

    def _items(self, prefix: list[str], item: str, least: int, most: int | None) -> str:
        """The items of an array, those with a place of their own first."""
        if not prefix:
            rest = self._run(self._rule(f'", " {item}'), least - 1, most and most - 1)
            return f"{item} {rest}" if least else f"({item} {rest})?"
        room = None if most is None else max(0, most - len(prefix))
        tail = ""
        if room != 0:
            tail = self._run(self._rule(f'", " {item}'), least - len(prefix), room)
        for at in range(len(prefix) - 1, -1, -1):
            if most is not None and at >= most:
                continue
            separator = '", " ' if at else ""
            here = f"{separator}{prefix[at]} {tail}"
            tail = here if at < least else f"({here})?"
        return tail

    def _run(self, name: str, least: int, most: int | None) -> str:
        """From `least` to `most` of the rule `name`, one after another."""
        least = max(least, 0)
        parts = self._exactly(name, least)
        if most is None:
            return " ".join([*parts, f"{name}*"])
        more = most - least
        if more >= _RUN:
            long = self._rule(f"{name}{{{_RUN}}}")
            parts.append(f"{long}{{0,{more // _RUN - 1}}} {name}{{0,{_RUN - 1}}}")
            more = more % _RUN + 1
        if more:
            parts.append(f"{name}{{0,{more}}}")
        # A rule of its own counts as one where an engine adds up what is repeated.
        return self._rule(" ".join(parts)) if most > _SHORT_RUN else " ".join(parts)

    def _exactly(self, name: str, count: int) -> list[str]:
        parts = []
        if count >= _RUN:
            parts.append(f"{self._rule(f'{name}{{{_RUN}}}')}{{{count // _RUN}}}")
        if count % _RUN:
            parts.append(f"{name}{{{count % _RUN}}}")
        return parts

    def _object(self, schema: Schema) -> str:
        properties: Schema = schema.get("properties", {})
        required = set(schema.get("required", ()))
        more = self._more_members(schema)
        # What may follow when a member was written before, and when none was.
        after = f'(", " {more})*' if more else '""'
        first = f"({more} {after})?" if more else '""'
        for name in reversed(properties):
            name_and_colon = literal(f"{json.dumps(name, ensure_ascii=False)}: ")
            member = f"{name_and_colon} {self.of(properties[name])}"
            rest = self._rule(after)
            if name in required:
                after, first = f'", " {member} {rest}', f"{member} {rest}"
            else:
                first = f"{member} {rest} | {self._rule(first)}"
                after = f'", " {member} {rest} | {rest}'
        return f'"{{" {self._rule(first)} "}}"'

    def _more_members(self, schema: Schema) -> str:
        """A rule for members that `properties` does not name; empty where there are none."""
        more = schema.get("additionalProperties")
        properties = schema.get("properties", {})
        if more is False or (more is None and properties):
            return ""
        value = self.of(more) if isinstance(more, dict) else "value"
        name = self._other_name(sorted(properties)) if properties else "string"
        return self._rule(f'{name} ": " {value}')

    def _other_name(self, names: list[str]) -> str:
        """Strings that are none of the names; escaped ones are left out, they could be one."""
        tree: dict[str, Any] = {}
        for name in names:
            node = tree
            for letter in name:
                node = node.setdefault(letter, {})
            node[""] = True
        return self._rule(f'"\\"" {self._apart_from(tree)} "\\""')

    def _apart_from(self, tree: dict[str, Any]) -> str:
        plain = _plain_class(complement(_CONTROLS))
        letters = [ord(c) for c in tree if c]
        others = complement([*_CONTROLS, *((c, c) for c in letters)])
        choices = [f"{_plain_class(others)} {plain}*"]
        choices += [
            f"{literal(chr(c))} {self._rule(self._apart_from(tree[chr(c)]))}"
            for c in letters
            if c not in (0x22, 0x5C)
        ]
        if "" not in tree:
            choices.append('""')
        return f"({' | '.join(choices)})"


def _plain_class(ranges: list[tuple[int, int]]) -> str:
    """Characters that stand in a JSON string as they are."""
    return char_class(subtract(ranges, NOT_PLAIN))


def _value(value: Any) -> str:
    """Exactly this value, with a blank after colons and commas as models write JSON."""
    return literal(json.dumps(value, ensure_ascii=False))


def _kinds(schema: Schema) -> list[str]:
    """The types that are meant; where none is said, the one its other words are about."""
    said = schema.get("type")
    if isinstance(said, list):
        return said
    if said is not None:
        return [said]
    for kind, words in _HINTS.items():
        if any(word in schema for word in words):
            return [kind]
    return list(_ANY)


def _limit(schema: Schema, closed: str, opened: str, *, whole: bool) -> Decimal | None:
    """The stricter of the two limits, as one that is included."""
    is_low = closed == "minimum"
    limits = [Decimal(repr(schema[closed]))] if closed in schema else []
    if opened in schema:
        limit = Decimal(repr(schema[opened]))
        exponent = limit.normalize().as_tuple().exponent
        decimals = 0 if whole else max(2, -exponent if isinstance(exponent, int) else 0)
        if whole:
            limit = limit.to_integral_value("ROUND_FLOOR" if is_low else "ROUND_CEILING")
        step = Decimal(1).scaleb(-decimals)
        limits.append(limit + step if is_low else limit - step)
    if not limits:
        return None
    return max(limits) if is_low else min(limits)
