"""How a model or one of its files comes from a registry, which is the same for all of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from dimora.core.types import Progress
from dimora.models.manifests import Layer
from dimora.models.sources.base import Brought, Wanted

if TYPE_CHECKING:
    from dimora.models.store import ModelStore


async def fetch(wanted: Wanted, store: ModelStore) -> AsyncGenerator[Progress | Brought, None]:
    """See sources.base."""
    # The network library is slow to import; other sources do without.
    from dimora.models.remote.registry_pull import bring

    async with aclosing(bring(wanted, store)) as steps:
        async for step in steps:
            yield step


async def fetch_blob(
    wanted: Wanted, layer: Layer, store: ModelStore
) -> AsyncGenerator[Progress, None]:
    """See sources.base."""
    from dimora.models.remote.registry_pull import bring_blob

    async with aclosing(bring_blob(wanted, layer, store)) as steps:
        async for step in steps:
            yield step
