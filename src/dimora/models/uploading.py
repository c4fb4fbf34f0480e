"""Takes the bytes of an upload into the store: to the disk as they come, never all in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from dimora.core.errors import BadRequest
from dimora.storage.blobs import BlobStore, BlobWriter
from dimora.storage.disk import require_room
from dimora.tasks.base import StoredBlob

if TYPE_CHECKING:
    from dimora.models.store import ModelStore

# Bytes are written in pieces of about this size: a thread for each network read costs too much.
_PIECE_BYTES = 1 << 20
# Room is looked for again after so many bytes, for uploads that do not say how long they are.
_LOOK_BYTES = 256 << 20
_PLACE = "the upload"


async def store_blob(
    store: ModelStore, digest: str, content: AsyncIterator[bytes], size_bytes: int | None
) -> StoredBlob:
    """Make the blob `digest` of the content; nothing is read of it when the blob is here already.

    `size_bytes` is what the sender announced. What a broken upload left is removed.

    Raises BadRequest (not these bytes, or not so many), StorageFull, whatever the content raises.
    """
    store.blobs.path(digest)
    there = await asyncio.to_thread(store.find_blob, digest)
    if there is not None:
        return StoredBlob(digest=digest, size_bytes=there, created=False)
    await asyncio.to_thread(store.blobs.prepare)
    require_room(store.blobs.directory, size_bytes or 0, _PLACE)
    async with _writing(store.blobs, digest) as writer:
        looked_bytes = 0
        async with aclosing(_pieces(content)) as pieces:
            async for piece in pieces:
                if writer.written_bytes - looked_bytes >= _LOOK_BYTES:
                    looked_bytes = writer.written_bytes
                    require_room(store.blobs.directory, _LOOK_BYTES, _PLACE)
                await asyncio.to_thread(writer.write, piece)
        if size_bytes is not None and writer.written_bytes != size_bytes:
            raise BadRequest(
                f"the upload has {writer.written_bytes} bytes instead of {size_bytes}",
                code="upload_incomplete",
            )
    await asyncio.to_thread(store.remembered.note_verified, digest, store.blobs.path(digest))
    return StoredBlob(digest=digest, size_bytes=writer.written_bytes)


@asynccontextmanager
async def _writing(blobs: BlobStore, digest: str) -> AsyncIterator[BlobWriter]:
    """`BlobStore.writing`, whose end waits for the disk: half a minute for a large file, in which
    everybody else shall be answered."""
    work = blobs.writing(digest)
    writer = await asyncio.to_thread(work.__enter__)
    try:
        yield writer
    except BaseException as why:
        await asyncio.to_thread(work.__exit__, type(why), why, why.__traceback__)
        raise
    await asyncio.to_thread(work.__exit__, None, None, None)


async def _pieces(content: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The same bytes in pieces that are worth a thread."""
    gathered = bytearray()
    async for data in content:
        gathered += data
        if len(gathered) >= _PIECE_BYTES:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)
