"""The keeper of documents as one principal's request may use it; see tasks.knowing.Knowledge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

from dimora.core.errors import Forbidden
from dimora.core.types import Principal
from dimora.storage.disk import disk_errors
from dimora.tasks.base import Model
from dimora.tasks.knowing import (
    Collection,
    Count,
    Filters,
    KnownDocument,
    Offered,
    Passage,
    Piece,
)

if TYPE_CHECKING:
    from dimora.knowledge.room import WorkspaceKnowledge
    from dimora.runtime.house import House


class KnowledgeFor:
    """Of the principal's workspace, and no other.

    Only the person at the terminal may name a file: a server opens no path a client names.
    """

    def __init__(self, house: House, principal: Principal) -> None:
        self._house = house
        self._principal = principal

    @property
    def _own(self) -> WorkspaceKnowledge:
        return self._house.knowledge().of(self._principal.workspace)

    def _require_terminal(self) -> None:
        if self._principal.proof != "terminal":
            raise Forbidden("only the terminal may name a file of this machine")

    async def collections(self) -> list[Collection]:
        return await self._own.collections()

    async def collection(self, name: str) -> Collection:
        return await self._own.collection(name)

    async def make_collection(
        self, name: str, embedder: str, *, hidden: bool = False
    ) -> Collection:
        return await self._own.make_collection(name, embedder, hidden=hidden)

    async def change_collection(
        self, name: str, *, folders: Sequence[str] | None = None, about: str | None = None
    ) -> Collection:
        if folders is not None:
            self._require_terminal()
        return await self._own.change_collection(name, folders, about)

    async def drop_collection(self, name: str) -> None:
        await self._own.drop_collection(name)

    async def documents(self, collection: str) -> list[KnownDocument]:
        return await self._own.documents(collection)

    async def document(self, collection: str, document: str) -> KnownDocument:
        return await self._own.document(collection, document)

    async def offers(self, paths: Sequence[str]) -> list[Offered]:
        self._require_terminal()
        return await self._own.offers(paths)

    async def documents_of(self, model: Model) -> AsyncGenerator[Offered, None]:
        files = await asyncio.to_thread(self._house.models.documents, model)
        for name, digest, path in files:
            with disk_errors("the model store"):
                data = await asyncio.to_thread(Path(path).read_bytes)
            yield Offered(
                name=name, data=data, digest=digest.removeprefix("sha256:"), size_bytes=len(data)
            )

    async def is_known(self, collection: str, offered: Offered) -> KnownDocument | None:
        if offered.path:
            self._require_terminal()
        return await self._own.is_known(collection, offered)

    async def pieces(
        self, offered: Offered, count: Count, budget_tokens: int
    ) -> AsyncGenerator[KnownDocument | Piece, None]:
        if offered.path:
            self._require_terminal()
        async with aclosing(self._own.pieces(offered, count, budget_tokens)) as made:
            async for one in made:
                yield one

    async def put(
        self,
        collection: str,
        document: KnownDocument,
        pieces: Sequence[Piece],
        vectors: Sequence[Sequence[float]],
    ) -> KnownDocument:
        return await self._own.put(collection, document, pieces, vectors)

    async def copy(self, collection: str, document: str, target: str, name: str) -> KnownDocument:
        return await self._own.copy(collection, document, target, name)

    async def remove(self, collection: str, document: str) -> KnownDocument:
        return await self._own.remove(collection, document)

    async def find(
        self,
        collections: Sequence[str],
        question: str,
        vector: Sequence[float],
        *,
        limit: int,
        filters: Filters,
    ) -> list[Passage]:
        return await self._own.find(collections, question, vector, limit=limit, filters=filters)

    async def around(self, passage: Passage, before: int, after: int) -> list[Piece]:
        return await self._own.around(passage, before, after)

    async def export(self, collection: str) -> AsyncGenerator[KnownDocument | Piece, None]:
        async with aclosing(self._own.export(collection)) as told:
            async for one in told:
                yield one
