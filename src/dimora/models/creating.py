"""Makes a model as a recipe says: other words and parameters over the layers of an existing one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from dimora.core.errors import BadRequest, NotFound
from dimora.core.types import Progress
from dimora.models.names import require_name
from dimora.tasks.recipe import Recipe

if TYPE_CHECKING:
    from dimora.models.store import ModelStore


class Creation:
    """One run of `ModelStore.create`."""

    def __init__(self, store: ModelStore, name: str, recipe: Recipe, warnings: list[str]) -> None:
        self._store = store
        self._name = name
        self._recipe = recipe
        self._warnings = warnings

    async def run(self) -> AsyncGenerator[Progress, None]:
        """See ModelStore.create."""
        if not self._recipe.source:
            raise BadRequest("neither 'from' or 'files' was specified", param="from")
        await asyncio.to_thread(self._write)
        yield Progress(status="writing manifest")
        yield Progress(status="success")

    def _write(self) -> None:
        store, recipe = self._store, self._recipe
        target = require_name(self._name, "name")
        with store.changing():
            there = store.locate(recipe.source)
            if there is None:
                raise NotFound(
                    f"model '{recipe.source[:400]}' not found",
                    code="model_not_found",
                    hint=f"dimora pull {recipe.source[:400]}",
                )
            stored = store.manifests.read(there)
            layers = store.writer.change_layers(
                stored,
                recipe.options,
                system=recipe.system,
                template=recipe.template,
                messages=recipe.messages,
                licenses=recipe.licenses,
            )
            store.writer.write(
                store.manifests.locate(target) or target, layers, like=stored.manifest.config
            )
