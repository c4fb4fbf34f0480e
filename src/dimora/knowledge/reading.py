"""Files become pieces: read in a process of their own, then cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

from dimora.core.languages import sure_language
from dimora.documents.base import Document
from dimora.documents.limits import ReadingLimits
from dimora.documents.reading import Reader
from dimora.knowledge.cutting import cut
from dimora.knowledge.offering import with_bytes
from dimora.tasks.knowing import Count, KnownDocument, Offered, Piece

# To start the process takes longer than to read most files.
_IDLE_SECONDS = 20.0


class ReadingDesk:
    """One workspace's reading process: there while files come, gone a while after the last."""

    def __init__(self, limits: ReadingLimits | None = None) -> None:
        self._limits = limits or ReadingLimits()
        self._reader: Reader | None = None
        self._users = 0
        self._going: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None

    async def pieces(
        self, offered: Offered, count: Count, budget_tokens: int
    ) -> AsyncGenerator[KnownDocument | Piece, None]:
        """What is known of a file, then its pieces. Raises BadRequest, NotFound, WorkerDied."""
        whole = await asyncio.to_thread(with_bytes, offered, self._limits.file_bytes)
        async with self._reading() as reader:
            document = await reader.read(whole.name, whole.data)
        yield KnownDocument(
            id="",
            name=whole.name,
            digest=whole.digest,
            media_type=document.media_type,
            size_bytes=whole.size_bytes,
            modified_at=whole.modified_at,
            pages=document.pages,
            language=await asyncio.to_thread(_language, document),
            invisible=document.invisible,
            warnings=document.warnings,
        )
        async with contextlib.aclosing(cut(document, count, budget_tokens)) as pieces:
            async for piece in pieces:
                yield piece

    async def close(self) -> None:
        """End the process; safe to call twice."""
        if self._going:
            self._going.cancel()
        if self._ending:
            await self._ending
        await self._end()

    @contextlib.asynccontextmanager
    async def _reading(self) -> AsyncIterator[Reader]:
        if self._going:
            self._going.cancel()
        if self._reader is None:
            self._reader = Reader(self._limits)
        self._users += 1
        try:
            yield self._reader
        finally:
            self._users -= 1
            self._going = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self._go)

    def _go(self) -> None:
        if not self._users:
            self._ending = asyncio.ensure_future(self._end())

    async def _end(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.__aexit__(None, None, None)


def _language(document: Document) -> str:
    texts = (block.text for block in document.blocks if block.kind != "code")
    return sure_language("\n".join(texts)) or ""
