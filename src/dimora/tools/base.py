"""What a kind of tool offers: `read`, which makes a source of a table in the settings.

A kind is a module with

    def read(table: ToolTable) -> Source        raises ConfigurationError that names the key

and imports what is heavy only when it is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from dimora.core.errors import ConfigurationError
from dimora.core.tool_tables import ToolTable
from dimora.tasks.acting import ToolOutput

T = TypeVar("T")


class SourceTool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool of a source; `name` is empty where the source itself is the tool."""

    name: str = ""
    description: str = ""
    parameters: dict[str, Any] = {}


class Source(Protocol):
    """A table of the settings, ready for use. It keeps nothing open between two calls."""

    foreign: bool
    """Whether names, descriptions and parameters are somebody else's words."""

    async def tools(self) -> Sequence[SourceTool]:
        """Raises SourceFailed."""

    async def call(self, tool: str, arguments: dict[str, Any]) -> ToolOutput:
        """Raises BadRequest, NotFound, SourceFailed."""


class Keys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of what a table may hold."""


def read_keys(table: ToolTable, kind: type[T]) -> T:
    """The keys of a table. Raises ConfigurationError that names the one which is wrong."""
    try:
        return msgspec.convert(table.values, kind)
    except msgspec.ValidationError as why:
        raise wrong(table, str(why)) from None


def wrong(table: ToolTable, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"setting tools: the tool {table.name!r}: {why}",
        hint="docs/guides/agents.md tells the keys of each kind",
    )


def cut_output(
    text: str, limit_bytes: int, *, failed: bool = False, cut: bool = False
) -> ToolOutput:
    """What a tool gave, up to a limit."""
    data = text.encode("utf-8", "replace")
    if len(data) > limit_bytes:
        text, cut = data[:limit_bytes].decode("utf-8", "ignore"), True
    return ToolOutput(text=text, failed=failed, cut=cut)
