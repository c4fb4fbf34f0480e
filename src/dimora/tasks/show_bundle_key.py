"""Tell the public key this house signs bundles with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms
from dimora.tasks.keeping import BundleKey

# The key is made when it is first asked for.
RIGHT: Right = "manage"


class ShowBundleKey(Request, frozen=True, kw_only=True, tag="show_bundle_key"):
    pass


class BundleKeyShown(Event, frozen=True, kw_only=True, tag="bundle_key_shown"):
    key: BundleKey


async def run(request: ShowBundleKey, rooms: Rooms) -> AsyncIterator[Event]:
    """One BundleKeyShown, then Done."""
    yield BundleKeyShown(key=await asyncio.to_thread(rooms.models.bundle_key))
    yield Done(warnings=request.warnings)
