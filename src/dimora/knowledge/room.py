"""The knowledge of all workspaces of a house, each in a file of its own, opened when asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path

from dimora.knowledge.finding import Search
from dimora.knowledge.keeping import Keeper
from dimora.knowledge.offering import digest_of, offers_of
from dimora.knowledge.reading import ReadingDesk
from dimora.knowledge.workspace_file import file_name
from dimora.tasks.knowing import (
    Collection,
    Count,
    Filters,
    KnownDocument,
    Offered,
    Passage,
    Piece,
)


class Place:
    """One workspace's file, and the desk where documents are read for it."""

    def __init__(self, path: Path, embedder_name: Callable[[str], str]) -> None:
        self.keeper = Keeper(path, embedder_name)
        self.desk = ReadingDesk()


class KnowledgeRoom:
    """The files in `directory`. For one event loop. `embedder_name` gives the one name a model
    has, however it was written."""

    def __init__(self, directory: Path, *, embedder_name: Callable[[str], str] = str) -> None:
        self._directory = directory
        self._embedder_name = embedder_name
        self._places: dict[Path, Place] = {}

    def of(self, workspace: str) -> Place:
        return self._at(self._directory / file_name(workspace))

    def everywhere(self) -> list[Place]:
        """Of all workspaces that know anything."""
        return [self._at(path) for path in sorted(self._directory.glob("*.db"))]

    def _at(self, path: Path) -> Place:
        if path not in self._places:
            self._places[path] = Place(path, self._embedder_name)
        return self._places[path]

    async def close(self) -> None:
        """Safe to call twice."""
        for place in self._places.values():
            await place.desk.close()
            await asyncio.to_thread(place.keeper.close)


class WorkspaceKnowledge:
    """What one workspace knows; see tasks.knowing.Knowledge, to which the runtime adds who may ask
    for what, and what models bring. Files are worked on in threads: only one writes at a time."""

    def __init__(self, place: Place) -> None:
        self._keeper = place.keeper
        self._desk = place.desk

    async def collections(self) -> list[Collection]:
        return await asyncio.to_thread(self._keeper.collections)

    async def collection(self, name: str) -> Collection:
        return await asyncio.to_thread(self._keeper.collection, name)

    async def make_collection(
        self, name: str, embedder: str, *, hidden: bool = False
    ) -> Collection:
        return await asyncio.to_thread(self._keeper.make_collection, name, embedder, hidden=hidden)

    async def change_collection(
        self, name: str, *, folders: Sequence[str] | None = None, about: str | None = None
    ) -> Collection:
        return await asyncio.to_thread(self._keeper.change_collection, name, folders, about)

    async def drop_collection(self, name: str) -> None:
        await asyncio.to_thread(self._keeper.drop_collection, name)

    async def documents(self, collection: str) -> list[KnownDocument]:
        return await asyncio.to_thread(self._keeper.documents, collection)

    async def document(self, collection: str, document: str) -> KnownDocument:
        return await asyncio.to_thread(self._keeper.document, collection, document)

    async def offers(self, paths: Sequence[str]) -> list[Offered]:
        return await asyncio.to_thread(offers_of, paths)

    async def is_known(self, collection: str, offered: Offered) -> KnownDocument | None:
        return await asyncio.to_thread(
            self._keeper.is_known, collection, offered, lambda: digest_of(offered)
        )

    async def pieces(
        self, offered: Offered, count: Count, budget_tokens: int
    ) -> AsyncGenerator[KnownDocument | Piece, None]:
        async with aclosing(self._desk.pieces(offered, count, budget_tokens)) as made:
            async for one in made:
                yield one

    async def put(
        self,
        collection: str,
        document: KnownDocument,
        pieces: Sequence[Piece],
        vectors: Sequence[Sequence[float]],
        weights: str = "",
    ) -> KnownDocument:
        return await asyncio.to_thread(
            self._keeper.put, collection, document, pieces, vectors, weights
        )

    async def copy(self, collection: str, document: str, target: str, name: str) -> KnownDocument:
        return await asyncio.to_thread(self._keeper.copy, collection, document, target, name)

    async def remove(self, collection: str, document: str) -> KnownDocument:
        return await asyncio.to_thread(self._keeper.remove, collection, document)

    async def find(
        self,
        collections: Sequence[str],
        question: str,
        vector: Sequence[float],
        *,
        limit: int,
        filters: Filters,
    ) -> list[Passage]:
        search = Search(
            collections=tuple(collections),
            question=question,
            vector=tuple(vector),
            limit=limit,
            filters=filters,
        )
        return await asyncio.to_thread(self._keeper.find, search)

    async def around(self, passage: Passage, before: int, after: int) -> list[Piece]:
        return await asyncio.to_thread(self._keeper.around, passage, before, after)

    async def export(self, collection: str) -> AsyncGenerator[KnownDocument | Piece, None]:
        for document in await self.documents(collection):
            yield document
            for piece in await asyncio.to_thread(self._keeper.pieces, collection, document.id):
                yield piece
