"""All tools of the settings: which there are, and the call of one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from dimora.core.errors import BadRequest, ConfigurationError, DimoraError, NotFound
from dimora.core.tool_tables import SEPARATOR, ToolTable
from dimora.tasks.acting import OfferedTool, SilentSource, ToolOutput
from dimora.tools import SHELF
from dimora.tools.base import Source, SourceTool

# What a source may say of itself: somebody else's words in every prompt.
_TOOLS_AT_MOST = 64
_DESCRIPTION_CHARACTERS = 1000
_SCHEMA_BYTES = 8 * 2**10
_ARGUMENTS_BYTES = 64 * 2**10
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Toolbox:
    """Raises ConfigurationError, when it is made, for a table that cannot be used."""

    def __init__(self, tables: Sequence[ToolTable]) -> None:
        self._sources = {table.name: (table, _read(table)) for table in tables}

    async def offered(self) -> tuple[list[OfferedTool], list[SilentSource]]:
        """All tools, and the sources that did not tell theirs; they are asked side by side."""
        told = await asyncio.gather(
            *(self._offered_by(table, source) for table, source in self._sources.values())
        )
        tools = [tool for some in told if isinstance(some, list) for tool in some]
        return tools, [one for one in told if isinstance(one, SilentSource)]

    async def _offered_by(
        self, table: ToolTable, source: Source
    ) -> list[OfferedTool] | SilentSource:
        try:
            found = await source.tools()
        except DimoraError as why:
            return SilentSource(source=table.name, kind=table.kind, error=why.message)
        return [
            _offered(table, tool, foreign=source.foreign)
            for tool in found[:_TOOLS_AT_MOST]
            if _is_fit(tool)
        ]

    async def call(self, name: str, arguments: dict[str, Any]) -> ToolOutput:
        """Raises NotFound, BadRequest, SourceFailed."""
        source_name, separator, tool = name.partition(SEPARATOR)
        found = self._sources.get(source_name)
        if found is None:
            raise NotFound("there is no tool of this name", code="tool_not_found")
        if len(msgspec.json.encode(arguments)) > _ARGUMENTS_BYTES:
            raise BadRequest("the arguments are too long", code="bad_arguments")
        source = found[1]
        if bool(separator) != source.foreign:
            raise NotFound("there is no tool of this name", code="tool_not_found")
        return await source.call(tool, arguments)


def _read(table: ToolTable) -> Source:
    if table.kind not in SHELF.names():
        raise ConfigurationError(
            f"setting tools: the tool {table.name!r}: there is no kind {table.kind!r}",
            hint=f"kinds: {', '.join(SHELF.names())}",
        )
    source: Source = SHELF.load(table.kind).read(table)
    return source


def _is_fit(tool: SourceTool) -> bool:
    if tool.name and not _NAME.fullmatch(tool.name):
        return False
    try:
        return len(msgspec.json.encode(tool.parameters)) <= _SCHEMA_BYTES
    except (TypeError, ValueError, RecursionError):
        return False


def _offered(table: ToolTable, tool: SourceTool, *, foreign: bool) -> OfferedTool:
    description = "".join(c if c.isprintable() else " " for c in tool.description)
    return OfferedTool(
        name=f"{table.name}{SEPARATOR}{tool.name}" if tool.name else table.name,
        source=table.name,
        kind=table.kind,
        description=" ".join(description.split())[:_DESCRIPTION_CHARACTERS],
        parameters=tool.parameters,
        trusted=table.trusted,
        foreign=foreign,
    )
