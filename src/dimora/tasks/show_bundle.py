"""Tell what is in a signed file of models; for the person at the terminal alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from dimora.core.types import Done, Event, Request
from dimora.tasks.base import Right, Rooms
from dimora.tasks.keeping import BundleTold

RIGHT: Right = "read"


class ShowBundle(Request, frozen=True, kw_only=True, tag="show_bundle"):
    path: str


class BundleShown(Event, frozen=True, kw_only=True, tag="bundle_shown"):
    """By its signed index; the models' files are read when it is imported."""

    bundle: BundleTold


async def run(request: ShowBundle, rooms: Rooms) -> AsyncIterator[Event]:
    """One BundleShown, then Done."""
    told = await asyncio.to_thread(rooms.models.tell_bundle, request.path)
    yield BundleShown(bundle=told)
    yield Done(warnings=request.warnings)
