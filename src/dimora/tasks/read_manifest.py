"""Give the manifest of a model, byte by byte as it lies in the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from dimora.core.types import Done, Event, Request
from dimora.tasks.base import ManifestFile, Right, Rooms

RIGHT: Right = "read"


class ReadManifest(Request, frozen=True, kw_only=True, tag="read_manifest"):
    """`model` is a name without its tag, `reference` a tag or a digest."""

    reference: str


class ManifestFound(Event, frozen=True, kw_only=True, tag="manifest_found"):
    manifest: ManifestFile


async def run(request: ReadManifest, rooms: Rooms) -> AsyncIterator[Event]:
    """ManifestFound, then Done. Raises NotFound, BadRequest, InvalidModel."""
    found = await asyncio.to_thread(rooms.models.read_manifest, request.model, request.reference)
    yield ManifestFound(manifest=found)
    yield Done(warnings=request.warnings)
