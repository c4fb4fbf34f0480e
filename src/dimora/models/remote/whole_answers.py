"""Reads a whole small answer, unpacked as it comes, and never more of it than allowed.

The network library would unpack every piece to its end before anybody could look at its size, and
layer upon layer when a server names several packings: a few bytes could fill the memory.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from dimora.core.errors import SourceFailed

if TYPE_CHECKING:
    import httpx2

# How zlib calls what these names stand for.
_PACKINGS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


async def read_whole(response: httpx2.Response, limit_bytes: int) -> bytes:
    """The body of a streamed answer.

    Raises SourceFailed when it is longer than `limit_bytes`, or packed in a way nobody asked for.
    """
    host = response.url.host
    packing = response.headers.get("Content-Encoding", "").strip().lower()
    unpack = None
    if packing not in ("", "identity"):
        if packing not in _PACKINGS:
            raise SourceFailed(f"{host} answers in a packing that nobody asked for")
        unpack = zlib.decompressobj(wbits=_PACKINGS[packing])
    body = bytearray()
    came = 0
    async for chunk in response.aiter_raw():
        came += len(chunk)
        try:
            body += unpack.decompress(chunk, limit_bytes - len(body) + 1) if unpack else chunk
        except zlib.error:
            raise SourceFailed(f"{host} answers with something damaged") from None
        if len(body) > limit_bytes:
            raise SourceFailed(f"{host} answers with more than {limit_bytes} bytes")
    if unpack and came and not unpack.eof:
        raise SourceFailed(f"{host} answers with something damaged")
    return bytes(body)
