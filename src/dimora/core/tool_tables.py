"""Reads the tables `[[tools]]` of the settings as far as every kind of tool has the same keys.

What else stands in a table is for the file of its kind in the room `tools`.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

# Two underscores part the name of a source from that of its tool.
SEPARATOR = "__"
_NAME = re.compile(r"[a-z](?:_?[a-z0-9])*")
_NAME_CHARACTERS = 32
_COMMON = ("kind", "name", "trusted")


class ToolTable(msgspec.Struct, frozen=True, kw_only=True):
    """One table. `values` are the keys of its kind; a `trusted` one is called without asking."""

    kind: str
    name: str
    trusted: bool = False
    values: dict[str, Any] = {}


def read_tools(value: Any) -> tuple[ToolTable, ...]:
    """Raises ValueError that names the table and its key."""
    if not isinstance(value, list):
        raise ValueError("must be tables, each beginning with [[tools]]")
    tables = tuple(_read_table(entry, at) for at, entry in enumerate(value))
    names = [table.name for table in tables]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"has two tools with the name {name!r}")
    return tables


def _read_table(entry: Any, at: int) -> ToolTable:
    if not isinstance(entry, dict):
        raise ValueError(f"[{at}] must be a table")
    kind, name, trusted = (entry.get(key) for key in _COMMON)
    if not (isinstance(kind, str) and kind):
        raise ValueError(f"[{at}].kind is missing")
    if not (isinstance(name, str) and _NAME.fullmatch(name) and len(name) <= _NAME_CHARACTERS):
        raise ValueError(
            f"[{at}].name must be small letters, digits and single underscores,"
            f" {_NAME_CHARACTERS} at most"
        )
    if not isinstance(trusted, bool | None):
        raise ValueError(f"[{at}].trusted must be true or false")
    values = {key: inner for key, inner in entry.items() if key not in _COMMON}
    return ToolTable(kind=kind, name=name, trusted=bool(trusted), values=values)


def show_tools(tables: tuple[ToolTable, ...]) -> str:
    """Their names; the rest may hold keys of other people's servers."""
    return ", ".join(table.name for table in tables)
