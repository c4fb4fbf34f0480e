"""Answers of servers are read whole and bounded, however they are packed."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator

import httpx2
import pytest

from dimora.core.errors import SourceFailed
from dimora.models.remote.whole_answers import read_whole
from tests.bounds import within_bounds

LIMIT_BYTES = 4 << 20


class _Pieces(httpx2.AsyncByteStream):
    def __init__(self, data: bytes, size: int) -> None:
        self._data = data
        self._size = size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._data), self._size):
            yield self._data[at : at + self._size]


def read(data: bytes, packing: str = "", *, size: int = 1 << 16) -> bytes:
    response = httpx2.Response(
        200,
        headers={"Content-Encoding": packing} if packing else {},
        stream=_Pieces(data, size),
        request=httpx2.Request("GET", "https://host.example/x"),
    )
    return asyncio.run(read_whole(response, LIMIT_BYTES))


@pytest.mark.parametrize("size", [1, 7, 1 << 16])
def test_what_is_packed_as_servers_do_is_unpacked(size: int) -> None:
    data = b"manifest " * 500
    assert read(data, size=size) == read(data, "identity", size=size) == data
    assert read(gzip.compress(data), "gzip", size=size) == data
    assert read(gzip.compress(data), "X-Gzip", size=size) == data
    assert read(zlib.compress(data), "deflate", size=size) == data
    assert read(b"") == read(b"", "gzip") == b""


def test_an_answer_may_be_as_long_as_allowed_and_not_a_byte_longer() -> None:
    for packing, pack in (("", bytes), ("gzip", gzip.compress)):
        assert len(read(pack(bytes(LIMIT_BYTES)), packing)) == LIMIT_BYTES
        with pytest.raises(SourceFailed, match=f"more than {LIMIT_BYTES} bytes"):
            read(pack(bytes(LIMIT_BYTES + 1)), packing)


def test_an_answer_that_unpacks_to_far_too_much_never_fills_the_memory() -> None:
    bomb = gzip.compress(bytes(300 << 20), 1)

    def attempt() -> None:
        with pytest.raises(SourceFailed, match="more than"):
            read(bomb, "gzip", size=len(bomb))

    within_bounds(attempt)


@pytest.mark.parametrize("packing", ["gzip, gzip", "gzip,deflate", "br", "zstd", "compress", "x"])
def test_packings_nobody_asked_for_are_refused_unread(packing: str) -> None:
    with pytest.raises(SourceFailed, match="nobody asked for"):
        read(gzip.compress(gzip.compress(b"a")), packing)


@pytest.mark.parametrize(
    "data",
    [b"no", gzip.compress(b"a" * 999)[:-9], b"\x1f\x8b\x08"],
    ids=["no gzip", "cut", "a beginning"],
)
def test_what_is_damaged_is_refused(data: bytes) -> None:
    with pytest.raises(SourceFailed, match="damaged"):
        read(data, "gzip")
