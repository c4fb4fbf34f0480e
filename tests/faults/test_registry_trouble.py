"""Pulls from a registry that breaks off, falls silent or cannot do what it should."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from pathlib import Path

import pytest

from dimora.core.errors import (
    Forbidden,
    InternalError,
    NotFound,
    SourceFailed,
)
from dimora.core.types import Progress
from dimora.models.remote import fetching
from dimora.models.remote.fetching import BlobFetch, FileWanted
from dimora.models.remote.network import Interrupted, Network, Refused
from dimora.models.taking import Taken
from tests.faults.registry_pulls import (
    NAME,
    assert_nothing_shown,
    assert_whole,
    pull,
    store_for,
)
from tests.faults.site import Asked, Reply
from tests.unit.models.making import digest_of

# So that small files come in several parts, and trouble is over soon.
pytestmark = pytest.mark.usefixtures("small_parts")


@pytest.mark.parametrize("trouble", ["503", "cut", "short", "other range", "too much", "hang up"])
async def test_trouble_with_a_part_is_tried_again(open_site, registry, weights, tmp_path, trouble):
    registry.add_model(weights)
    left = [3]

    def spoil(asked: Asked, reply: Reply) -> Reply:
        if "range" not in asked.headers or not left[0]:
            return reply
        left[0] -= 1
        return {
            "503": Reply(503),
            "cut": reply._replace(cut=1000),
            "short": reply._replace(body=reply.body[:-7]),
            "other range": reply._replace(headers={"Content-Range": "bytes 5-9/10"}),
            "too much": reply._replace(body=reply.body + b"more"),
            "hang up": reply._replace(cut=0),
        }[trouble]

    registry.spoil = spoil
    here = open_site(registry)
    store = store_for(tmp_path, here)
    await pull(store, here)
    assert left == [0]
    assert_whole(store, here, weights)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(503), Interrupted),
        (Reply(404), NotFound),
        (Reply(403), Refused),
        (Reply(418), SourceFailed),
        (Reply(206, b"", {"Content-Range": "bytes 0-0/1"}), Interrupted),
        (Reply(307, b"", {"Location": "https://10.0.0.1/x"}), Forbidden),
        (Reply(307, b"", {"Location": "http://169.254.169.254/x"}), Forbidden),
    ],
)
async def test_trouble_that_stays_ends_the_pull_and_keeps_what_came(
    open_site, registry, weights, tmp_path, reply, error
):
    registry.add_model(weights)
    came = threading.Event()

    def spoil(asked: Asked, good: Reply) -> Reply:
        if "range" in asked.headers and came.is_set():
            return reply
        if "range" in asked.headers:
            came.set()
        return good

    registry.spoil = spoil
    here = open_site(registry)
    store = store_for(tmp_path, here)
    with pytest.raises(error):
        await pull(store, here)
    assert_nothing_shown(store)
    here.asked.clear()
    registry.spoil = lambda _, good: good
    await pull(store, here)
    assert_whole(store, here, weights)


async def test_a_server_without_ranges_is_asked_for_the_whole(
    open_site, registry, weights, tmp_path
):
    registry.add_model(weights)
    registry.ranges = False
    here = open_site(registry)
    store = store_for(tmp_path, here)
    await pull(store, here)
    assert_whole(store, here, weights)


async def test_a_part_that_falls_silent_is_asked_for_again(open_site, registry, weights, tmp_path):
    data, silence, left = weights.read_bytes(), threading.Event(), [2]

    def spoil(asked: Asked, reply: Reply) -> Reply:
        if not left[0]:
            return reply
        left[0] -= 1
        return reply._replace(pause=lambda: silence.wait(20))

    registry.spoil = spoil
    registry.add("x", data)
    here = open_site(registry)
    store = store_for(tmp_path, here)
    wanted = FileWanted(
        url=f"{here.url}/v2/a/b/blobs/{digest_of(data)}",
        size_bytes=len(data),
        digest=digest_of(data),
    )
    began = time.monotonic()
    fetch = BlobFetch(Network(store.access), wanted, store.blobs, stall_seconds=0.3)
    steps = [step async for step in fetch.run()]
    silence.set()
    assert steps[-1] == Taken(digest=digest_of(data), size_bytes=len(data))
    assert time.monotonic() - began < 10
    assert left == [0]


async def test_what_is_noted_on_the_way_is_no_record_to_ollama_and_its_own_go(
    open_site, registry, weights, tmp_path
):
    """Ollama reads all of `<blob>-partial-*` and fails at what is not its own."""
    registry.add_model(weights)
    here = open_site(registry)
    store = store_for(tmp_path, here)
    partial = store.blobs.partial_path(digest_of(weights.read_bytes()))
    store.blobs.prepare()
    partial.write_bytes(bytes(weights.stat().st_size))
    for end in ("0", "11", "parts"):
        whole = {"N": 0, "Offset": 0, "Size": weights.stat().st_size}
        partial.with_name(f"{partial.name}-{end}").write_text(json.dumps(whole))
    steps = store.pull(f"{here.key}/{NAME}")
    async for step in steps:
        if step.completed_bytes > 1_000_000:
            break
    await steps.aclose()
    assert partial.with_name(f"{partial.name}.parts").exists()
    assert list(partial.parent.glob(f"{partial.name}-*")) == []
    await pull(store, here)
    assert_whole(store, here, weights)


async def test_bytes_without_a_digest_are_on_the_disk_before_they_are_noted(
    open_site, registry, weights, tmp_path, monkeypatch
):
    """A power cut may take what was written and not settled, and leave the note of it."""
    data = weights.read_bytes()
    registry.add("x", data)
    here = open_site(registry)
    store = store_for(tmp_path, here)
    monkeypatch.setattr(fetching, "_NOTE_SECONDS", 0.0)
    settled: dict[int, bytes] = {}
    noted: list[tuple[bytes, bytes]] = []
    settle, write = fetching.settle_file, fetching.write_whole

    def settle_file(file: int) -> None:
        settle(file)
        settled[0] = os.pread(file, len(data), 0)

    def write_whole(path: Path, record: bytes) -> None:
        noted.append((record, settled[0]))
        write(path, record)

    monkeypatch.setattr(fetching, "settle_file", settle_file)
    monkeypatch.setattr(fetching, "write_whole", write_whole)
    url = f"{here.url}/v2/a/b/blobs/{digest_of(data)}"
    wanted = FileWanted(url=url, size_bytes=len(data), key=digest_of(b"key"))
    steps = [step async for step in BlobFetch(Network(store.access), wanted, store.blobs).run()]
    assert steps[-1] == Taken(digest=digest_of(data), size_bytes=len(data))
    assert len(noted) > 3
    for record, there in noted:
        for part in json.loads(record)["parts"]:
            span = slice(part["start"], part["start"] + part["completed"])
            assert there[span] == data[span]


async def test_bytes_without_a_digest_that_the_disk_lost_are_not_noted(
    open_site, registry, weights, tmp_path, monkeypatch
):
    data = weights.read_bytes()
    registry.add("x", data)
    here = open_site(registry)
    store = store_for(tmp_path, here)
    monkeypatch.setattr(fetching, "_NOTE_SECONDS", 0.0)
    settle, write = fetching.settle_file, fetching.write_whole
    done: list[str] = []

    def fail_once(file: int) -> None:
        done.append("settled")
        if len(done) == 5:
            raise OSError(errno.EIO, "failed")
        settle(file)

    def write_whole(path: Path, record: bytes) -> None:
        done.append("noted")
        write(path, record)

    monkeypatch.setattr(fetching, "settle_file", fail_once)
    monkeypatch.setattr(fetching, "write_whole", write_whole)
    url = f"{here.url}/v2/a/b/blobs/{digest_of(data)}"
    wanted = FileWanted(url=url, size_bytes=len(data), key=digest_of(b"key"))
    with pytest.raises(InternalError, match="the disk of the model store failed"):
        [step async for step in BlobFetch(Network(store.access), wanted, store.blobs).run()]
    assert done == ["settled", "noted"] * 2 + ["settled"]
    steps = [step async for step in BlobFetch(Network(store.access), wanted, store.blobs).run()]
    assert steps[-1] == Taken(digest=digest_of(data), size_bytes=len(data))


async def test_a_server_that_forgets_ranges_does_not_leave_a_note_of_bytes_that_went(
    open_site, registry, weights, tmp_path
):
    data = weights.read_bytes()
    registry.add("x", data)
    here = open_site(registry)
    store = store_for(tmp_path, here)
    url = f"{here.url}/v2/a/b/blobs/{digest_of(data)}"
    wanted = FileWanted(url=url, size_bytes=len(data), key=digest_of(b"key"))
    partial = store.blobs.partial_path(wanted.name)
    steps = BlobFetch(Network(store.access), wanted, store.blobs).run()
    async for step in steps:
        if isinstance(step, Progress) and step.completed_bytes > 1_000_000:
            break
    await steps.aclose()
    registry.ranges = False
    seen: list[int] = []

    def look(asked: Asked, reply: Reply) -> Reply:
        def count() -> None:
            record = json.loads(partial.with_name(f"{partial.name}.parts").read_bytes())
            seen.append(sum(part["completed"] for part in record["parts"]))

        return reply._replace(pause=count)

    registry.spoil = look
    found = [step async for step in BlobFetch(Network(store.access), wanted, store.blobs).run()]
    assert found[-1] == Taken(digest=digest_of(data), size_bytes=len(data))
    assert seen[-1] == 0
