"""An MCP server as a source of tools: a program of this machine, or an address.

The server is started, or greeted, anew for every list and every call: nothing of it stays in the
house between two calls, and a server that fails costs one.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from dimora.core.errors import NotFound, SourceFailed, UnsupportedFeature
from dimora.core.tool_tables import ToolTable
from dimora.tasks.acting import ToolOutput
from dimora.tools import _programs
from dimora.tools.base import Keys, SourceTool, cut_output, read_keys, wrong

if TYPE_CHECKING:
    from mcp import Client
    from mcp_types import CallToolResult

T = TypeVar("T")

_PAGES_AT_MOST = 8


class McpKeys(Keys, frozen=True, kw_only=True):
    """`command` or `url`. `only` are the names of the tools that may be used; all where it is
    empty. `headers` go to the address, `environment` and `folder` are the program's."""

    command: tuple[str, ...] = ()
    url: str = ""
    only: tuple[str, ...] = ()
    headers: dict[str, str] = {}
    environment: dict[str, str] = {}
    folder: str = ""
    timeout_seconds: float = 60.0
    output_bytes: int = 64 * 2**10


def read(table: ToolTable) -> Server:
    keys = read_keys(table, McpKeys)
    if bool(keys.command) == bool(keys.url):
        raise wrong(table, "one of command and url is needed")
    if keys.command and (why := _programs.problem_of(keys.command, keys.folder)):
        raise wrong(table, why)
    if keys.url and (urlsplit(keys.url).scheme not in ("http", "https")):
        raise wrong(table, "url must begin with http:// or https://")
    return Server(table.name, keys)


class Server:
    """See tools.base.Source."""

    foreign = True

    def __init__(self, name: str, keys: McpKeys) -> None:
        self._name = name
        self._keys = keys

    async def tools(self) -> Sequence[SourceTool]:
        return await self._with(_list_tools(self._may))

    async def call(self, tool: str, arguments: dict[str, Any]) -> ToolOutput:
        if not self._may(tool):
            raise NotFound("there is no tool of this name", code="tool_not_found")
        return await self._with(_call_tool(tool, arguments, self._keys.output_bytes))

    def _may(self, tool: str) -> bool:
        return not self._keys.only or tool in self._keys.only

    async def _with(self, job: Callable[[Client], Awaitable[T]]) -> T:
        """Do one thing with the server. Raises SourceFailed."""
        import asyncio

        try:
            from mcp import Client

            from dimora.tools._mcp_streams import address_streams, program_streams
        except ImportError:
            raise UnsupportedFeature(
                "tools of MCP servers need the MCP SDK", hint='pip install "dimora[agent]"'
            ) from None
        keys = self._keys
        # The SDK logs what servers say, with its words.
        logging.getLogger("mcp").setLevel(logging.CRITICAL)
        streams = (
            program_streams(keys.command, folder=keys.folder, extra=keys.environment)
            if keys.command
            else address_streams(keys.url, keys.headers)
        )
        try:
            async with asyncio.timeout(keys.timeout_seconds):
                async with Client(streams, cache=None) as client:
                    return await job(client)
        except TimeoutError:
            raise SourceFailed(
                f"the server of {self._name} did not answer within {keys.timeout_seconds:g} seconds"
            ) from None
        except Exception as why:  # noqa: BLE001 - the border to somebody else's program
            raise SourceFailed(
                f"the server of {self._name} cannot be used: {_kind_of(why)}",
                hint="does it run by itself, with the same command or address?",
            ) from None


def _kind_of(why: BaseException) -> str:
    """The name of the innermost error; its words may hold anything."""
    while isinstance(why, BaseExceptionGroup) and why.exceptions:
        why = why.exceptions[0]
    return type(why).__name__


def _list_tools(
    may: Callable[[str], bool],
) -> Callable[[Client], Awaitable[Sequence[SourceTool]]]:
    async def job(client: Client) -> Sequence[SourceTool]:
        found: list[SourceTool] = []
        cursor = None
        for _ in range(_PAGES_AT_MOST):
            page = await client.list_tools(cursor=cursor)
            found += [
                SourceTool(
                    name=tool.name,
                    description=tool.description or "",
                    parameters=dict(tool.input_schema),
                )
                for tool in page.tools
                if may(tool.name)
            ]
            cursor = page.next_cursor
            if not cursor:
                break
        return found

    return job


def _call_tool(
    tool: str, arguments: dict[str, Any], limit_bytes: int
) -> Callable[[Client], Awaitable[ToolOutput]]:
    async def job(client: Client) -> ToolOutput:
        from mcp.shared.exceptions import MCPError

        try:
            result = await client.call_tool(tool, arguments)
        except MCPError as why:
            # The server lives and says no: that is for the model to read.
            return cut_output(str(why), limit_bytes, failed=True)
        return cut_output(_text_of(result), limit_bytes, failed=bool(result.is_error))

    return job


def _text_of(result: CallToolResult) -> str:
    parts = []
    for block in result.content:
        text = getattr(block, "text", None)
        parts.append(text if isinstance(text, str) else f"[{block.type}, not shown]")
    if not parts and result.structured_content is not None:
        import msgspec

        return msgspec.json.encode(result.structured_content).decode()
    return "\n".join(parts)
