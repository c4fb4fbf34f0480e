"""Typed parameters: what a model may fill in, and as which text that reaches a tool.

Not a kind of tool itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from dimora.core.errors import BadRequest

_LENGTH = 200
_LENGTH_AT_MOST = 20_000


class _Parameter(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """`optional`: may be left out, and with it the part of the template that names it."""

    description: str = ""
    optional: bool = False

    def problem(self) -> str:
        """What is wrong with the table, empty for nothing."""
        return ""

    def schema(self) -> dict[str, Any]:
        raise NotImplementedError

    def text_of(self, value: Any) -> str:
        """Raises ValueError in words that do not repeat the value."""
        raise NotImplementedError

    def _described(self, more: str = "") -> dict[str, str]:
        words = " ".join(part for part in (self.description, more) if part)
        return {"description": words} if words else {}


class TextParameter(_Parameter, frozen=True, kw_only=True, tag="text", forbid_unknown_fields=True):
    """`pattern` has to match all of it. `multiline` allows line ends and tabs, `dash` a minus sign
    at the beginning, with which programs let options begin."""

    pattern: str = ""
    max_length: int = _LENGTH
    multiline: bool = False
    dash: bool = False

    def problem(self) -> str:
        if not 0 < self.max_length <= _LENGTH_AT_MOST:
            return f"max_length must be from 1 to {_LENGTH_AT_MOST}"
        try:
            re.compile(self.pattern)
        except re.error:
            return "pattern is no regular expression"
        return ""

    def schema(self) -> dict[str, Any]:
        # The pattern is for the check, not for a grammar, which might not know all of it.
        return {"type": "string", **self._described()}

    def text_of(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError("must be a text")
        if len(value) > self.max_length:
            raise ValueError(f"must not be longer than {self.max_length} characters")
        allowed = "\n\t" if self.multiline else ""
        if any(not (c.isprintable() or c in allowed) for c in value):
            raise ValueError("must not hold line ends or other control characters")
        if value.startswith("-") and not self.dash:
            raise ValueError("must not begin with a minus sign")
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise ValueError("has not the form that the settings ask for")
        return value


class IntegerParameter(
    _Parameter, frozen=True, kw_only=True, tag="integer", forbid_unknown_fields=True
):
    minimum: int = 0
    maximum: int = 2**31 - 1

    def problem(self) -> str:
        return "minimum is larger than maximum" if self.minimum > self.maximum else ""

    def schema(self) -> dict[str, Any]:
        bounds = {"minimum": self.minimum, "maximum": self.maximum}
        return {"type": "integer", **bounds, **self._described()}

    def text_of(self, value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError("must be a whole number")
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"must be from {self.minimum} to {self.maximum}")
        return str(value)


class ChoiceParameter(
    _Parameter, frozen=True, kw_only=True, tag="choice", forbid_unknown_fields=True
):
    choices: tuple[str, ...]

    def problem(self) -> str:
        return "" if self.choices else "choices is empty"

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.choices), **self._described()}

    def text_of(self, value: Any) -> str:
        if value not in self.choices:
            raise ValueError(f"must be one of: {', '.join(self.choices)}")
        return str(value)


class PathParameter(_Parameter, frozen=True, kw_only=True, tag="path", forbid_unknown_fields=True):
    """What is there, at or below the folder `below`, wherever links lead; it reaches the tool as a
    whole path without links. What may not be named and what is not there are told alike."""

    below: str

    def problem(self) -> str:
        return "" if os.path.isabs(self.below) else "below must be a whole path"  # noqa: PTH117

    def schema(self) -> dict[str, Any]:
        return {"type": "string", **self._described("A path within the folder.")}

    def text_of(self, value: Any) -> str:
        refused = "must be a file or folder that is there, within the folder of the settings"
        if not isinstance(value, str) or not value or "\0" in value or len(value) > 4096:
            raise ValueError(refused)
        root = os.path.realpath(self.below)
        try:
            found = os.path.realpath(os.path.join(root, value), strict=True)  # noqa: PTH118
        except (OSError, ValueError):
            raise ValueError(refused) from None
        if os.path.commonpath([root, found]) != root:
            raise ValueError(refused)
        return found


Parameter = TextParameter | IntegerParameter | ChoiceParameter | PathParameter
Parameters = Mapping[str, Parameter]


def problem_of(parameters: Parameters) -> str:
    """What is wrong with the tables of parameters, empty for nothing."""
    for name, parameter in parameters.items():
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name):
            return f"parameters.{name} is no name of small letters, digits and underscores"
        if why := parameter.problem():
            return f"parameters.{name}: {why}"
    return ""


def schema_of(parameters: Parameters) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: parameter.schema() for name, parameter in parameters.items()},
        "required": [name for name, p in parameters.items() if not p.optional],
        "additionalProperties": False,
    }


def settle(parameters: Parameters, arguments: Mapping[str, Any]) -> dict[str, str]:
    """The texts of what is given. Raises BadRequest that names a parameter and no value."""
    if unknown := set(arguments) - set(parameters):
        known = ", ".join(parameters) or "none"
        raise BadRequest(
            f"{len(unknown)} arguments are not known; the tool takes: {known}", code="bad_arguments"
        )
    texts = {}
    for name, parameter in parameters.items():
        value = arguments.get(name)
        if value is None:
            if not parameter.optional:
                raise BadRequest(f"{name} is missing", param=name, code="bad_arguments")
            continue
        try:
            texts[name] = parameter.text_of(value)
        except ValueError as why:
            raise BadRequest(f"{name} {why}", param=name, code="bad_arguments") from None
    return texts
