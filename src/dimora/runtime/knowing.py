"""The keeper of documents as one principal's request may use it; see tasks.knowing.Knowledge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from pathlib import Path

from dimora.core.errors import DimoraError, Forbidden, NotFound
from dimora.core.types import Principal
from dimora.knowledge.room import KnowledgeRoom, WorkspaceKnowledge
from dimora.models.store import ModelStore
from dimora.storage.disk import disk_errors
from dimora.tasks.base import Model
from dimora.tasks.grounding import HIDDEN
from dimora.tasks.knowing import Collection, Count, KnownDocument, Offered, Piece


class KnowledgeFor(WorkspaceKnowledge):
    """Only the person at the terminal may name a file: a server opens no path a client names."""

    def __init__(self, room: KnowledgeRoom, models: ModelStore, principal: Principal) -> None:
        super().__init__(room.of(principal.workspace))
        self._room = room
        self._models = models
        self._principal = principal

    def _require_terminal(self) -> None:
        if self._principal.proof != "terminal":
            raise Forbidden("only the terminal may name a file of this machine")

    async def change_collection(
        self, name: str, *, folders: Sequence[str] | None = None, about: str | None = None
    ) -> Collection:
        if folders is not None:
            self._require_terminal()
        return await super().change_collection(name, folders=folders, about=about)

    async def offers(self, paths: Sequence[str]) -> list[Offered]:
        self._require_terminal()
        return await super().offers(paths)

    async def documents_of(self, model: Model) -> AsyncGenerator[Offered, None]:
        for name, digest, path in await asyncio.to_thread(self._models.documents, model):
            with disk_errors("the model store"):
                data = await asyncio.to_thread(Path(path).read_bytes)
            yield Offered(
                name=name, data=data, digest=digest.removeprefix("sha256:"), size_bytes=len(data)
            )

    async def forget_models(self) -> None:
        await forget_models(self._room, self._models)

    async def is_known(self, collection: str, offered: Offered) -> KnownDocument | None:
        if offered.path:
            self._require_terminal()
        return await super().is_known(collection, offered)

    async def pieces(
        self, offered: Offered, count: Count, budget_tokens: int
    ) -> AsyncGenerator[KnownDocument | Piece, None]:
        if offered.path:
            self._require_terminal()
        async with aclosing(super().pieces(offered, count, budget_tokens)) as made:
            async for one in made:
                yield one


async def forget_models(room: KnowledgeRoom, models: ModelStore) -> None:
    """See tasks.knowing.Knowledge."""
    first: DimoraError | None = None
    for place in room.everywhere():
        knowledge = WorkspaceKnowledge(place)
        try:
            told = [one.name for one in await knowledge.collections() if one.hidden]
            of_models = {name for name in told if name.startswith(HIDDEN)}
            if of_models:
                # Asked last: what a new model knows is made after the model.
                digests = await asyncio.to_thread(models.documents_digests)
                of_models -= {HIDDEN + digest for digest in digests}
            for name in sorted(of_models):
                with suppress(NotFound):
                    await knowledge.drop_collection(name)
        except DimoraError as why:
            first = first or why
    if first is not None:
        raise first
