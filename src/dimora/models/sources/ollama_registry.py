"""Ollama's own registry: names without a host, and those with that host."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from dimora.core.types import Progress
from dimora.models.manifests import Layer
from dimora.models.names import DEFAULT_HOST
from dimora.models.sources.base import Brought, Wanted

if TYPE_CHECKING:
    from dimora.models.store import ModelStore


def accepts(wanted: Wanted) -> bool:
    """Names of that registry, but those the catalogue has from elsewhere."""
    return wanted.name.host == DEFAULT_HOST and wanted.entry is None and not wanted.is_file


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
