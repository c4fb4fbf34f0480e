"""Two ways to an MCP server, with limits: a program's own streams, and one address over HTTP.

Not a kind of tool itself. The SDK's own way to a program has no limit on the length of a line.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import mcp_types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage

from dimora.tools import _programs

# Of one message. A server that sends longer ones is not read on.
MESSAGE_BYTES = 4 * 2**20
# How long a server may take to end once nobody speaks to it.
_LEAVE_SECONDS = 0.5

Arriving = MemoryObjectSendStream[SessionMessage | Exception]
Leaving = MemoryObjectReceiveStream[SessionMessage]


@asynccontextmanager
async def program_streams(
    command: Sequence[str], *, folder: str, extra: Mapping[str, str]
) -> AsyncGenerator[Any, None]:
    """Start a server; it and all it started are ended on leaving. Raises OSError."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=_programs.environment(extra),
        cwd=folder or os.sep,
        start_new_session=True,
        limit=MESSAGE_BYTES,
    )
    try:
        arriving, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        write, leaving = anyio.create_memory_object_stream[SessionMessage](0)
        async with anyio.create_task_group() as group:
            group.start_soon(_read, process, arriving)
            group.start_soon(_write, process, leaving)
            try:
                yield read, write
            finally:
                group.cancel_scope.cancel()
                for stream in (arriving, read, write, leaving):
                    stream.close()
    finally:
        with anyio.CancelScope(shield=True):
            await _leave(process)


async def _read(process: asyncio.subprocess.Process, arriving: Arriving) -> None:
    assert process.stdout is not None
    async with arriving:
        with contextlib.suppress(anyio.BrokenResourceError, ValueError, OSError):
            # ValueError: a line beyond the limit.
            while line := await process.stdout.readline():
                await arriving.send(_message(line))


def _message(line: bytes) -> SessionMessage | Exception:
    try:
        return SessionMessage(mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError:
        # Without the words of the error: they quote what came.
        return ValueError("a line that is no message")


async def _write(process: asyncio.subprocess.Process, leaving: Leaving) -> None:
    assert process.stdin is not None
    async with leaving:
        with contextlib.suppress(OSError):
            async for said in leaving:
                line = said.message.model_dump_json(by_alias=True, exclude_unset=True)
                process.stdin.write(line.encode() + b"\n")
                await process.stdin.drain()


async def _leave(process: asyncio.subprocess.Process) -> None:
    try:
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_SECONDS):
                await process.wait()
    finally:
        # The shield around this holds off cancellation of anyio's scopes, not that of Ctrl-C.
        await _programs.end_group(process)


@asynccontextmanager
async def address_streams(url: str, headers: Mapping[str, str]) -> AsyncGenerator[Any, None]:
    """Speak with a server at an address; redirects are followed within its origin only."""
    async with (
        httpx2.AsyncClient(
            headers=dict(headers), trust_env=False, timeout=300, transport=_LimitedTransport()
        ) as client,
        streamable_http_client(url, http_client=client, max_sse_event_size=MESSAGE_BYTES) as both,
    ):
        yield both


class _LimitedTransport(httpx2.AsyncHTTPTransport):
    """Reads no answer beyond a limit."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = await super().handle_async_request(request)
        answer.stream = _LimitedStream(answer.stream)
        return answer


class _LimitedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size_bytes = 0
        async for piece in self._inner:
            size_bytes += len(piece)
            if size_bytes > MESSAGE_BYTES:
                raise httpx2.RemoteProtocolError("the answer is too long")
            yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()
