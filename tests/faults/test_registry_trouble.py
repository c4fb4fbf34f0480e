"""Pulls from a registry that breaks off, falls silent or cannot do what it should."""

from __future__ import annotations

import threading
import time

import pytest

from dimora.core.errors import (
    Forbidden,
    NotFound,
    SourceFailed,
)
from dimora.models.remote.fetching import BlobFetch, FileWanted
from dimora.models.remote.network import Interrupted, Network, Refused
from dimora.models.taking import Taken
from tests.faults.registry_pulls import (
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
