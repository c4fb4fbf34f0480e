"""Any registry that speaks the OCI distribution protocol, with Basic or Bearer proof or none."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from dimora.core.types import Progress
from dimora.models.manifests import Layer
from dimora.models.names import DEFAULT_HOST
from dimora.models.sources.base import HUB_HOSTS, Brought, Wanted

if TYPE_CHECKING:
    from dimora.models.store import ModelStore


def accepts(wanted: Wanted) -> bool:
    """Names with a host that is neither Ollama's nor a hub of repositories."""
    host = wanted.name.host.lower()
    return host != DEFAULT_HOST and host not in HUB_HOSTS and not wanted.is_file


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
