"""Repositories of a Hugging Face hub or a mirror of it: `hf.co/user/repository[:kind]`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from dimora.core.types import Progress
from dimora.models.sources.base import HUB_HOSTS, Brought, Wanted

if TYPE_CHECKING:
    from dimora.models.store import ModelStore


def accepts(wanted: Wanted) -> bool:
    """Names with one of the hub's hosts; where they are looked up, the settings say."""
    return wanted.name.host.lower() in HUB_HOSTS and wanted.entry is None and not wanted.is_file


async def fetch(wanted: Wanted, store: ModelStore) -> AsyncGenerator[Progress | Brought, None]:
    """See sources.base."""
    # The network library is slow to import; other sources do without.
    from dimora.models.remote.hub_pull import bring

    async with aclosing(bring(wanted, store)) as steps:
        async for step in steps:
            yield step
