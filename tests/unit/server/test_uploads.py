"""Bodies that a task reads piece by piece."""

from __future__ import annotations

import asyncio
import json

import pytest

from dimora.core.errors import BadRequest, Forbidden
from dimora.core.types import Done
from dimora.server import answering
from dimora.tasks.store_blob import BlobStored

DIGEST = "sha256:" + "a" * 64
PATH = f"/api/blobs/{DIGEST}"


def storing(make_caller, created: bool = True, **settings):
    """An application whose house reads the whole upload; gives the pieces it got, too."""
    pieces: list[bytes] = []

    async def script(request):
        async for piece in house.content:
            pieces.append(piece)
        yield BlobStored(digest=request.digest, size_bytes=1, created=created)
        yield Done()

    caller, house = make_caller(script, **settings)
    return caller, house, pieces


async def test_an_upload_arrives_in_its_pieces_and_beyond_the_limit_of_bodies(make_caller):
    caller, house, pieces = storing(make_caller, max_body_bytes=3)
    response = await caller.call("POST", PATH, [b"abc", b"def"], [("content-length", "6")])
    assert (response.status, response.body) == (201, b"")
    assert pieces == [b"abc", b"def"]
    (asked,) = house.asked
    assert (asked[1].digest, asked[1].size_bytes) == (DIGEST, 6)


async def test_other_bodies_keep_their_limit(make_caller):
    caller, _, _ = storing(make_caller, max_body_bytes=3)
    waits = [("content-length", "5"), ("expect", "100-continue")]
    response = await caller.call("POST", "/api/create", b"{} {}", waits)
    assert response.status == 413


async def test_what_was_there_is_200(make_caller):
    caller, _, _ = storing(make_caller, created=False)
    assert (await caller.call("POST", PATH, b"abc")).status == 200


async def test_nothing_is_read_of_an_upload_that_is_refused(make_caller):
    async def script(request):
        raise Forbidden("no")
        yield

    caller, _ = make_caller(script)
    call = caller.begin("POST", PATH, [b"abc", b"def"])
    response = await call.finish()
    assert response.status == 403
    assert json.loads(response.body) == {"error": "no"}
    assert call.unread == [b"abc", b"def"]


async def test_a_wrong_digest_is_told_in_the_contracts_words(make_caller):
    async def script(request):
        raise BadRequest('digest mismatch, expected "a", got "b"')
        yield

    caller, _ = make_caller(script)
    response = await caller.call("POST", PATH, b"abc")
    assert response.status == 400
    assert json.loads(response.body)["error"] == 'digest mismatch, expected "a", got "b"'


async def test_a_sender_who_leaves_in_the_middle_ends_the_work(make_caller):
    caller, house, pieces = storing(make_caller)
    call = caller.begin("POST", PATH, b"")
    call.unread[:] = []
    await asyncio.sleep(0)
    call.leave()
    response = await call.finish()
    assert house.ended == ["Cancelled"]
    assert pieces == []
    assert response.status == 499


async def test_a_sender_who_leaves_after_the_body_ends_the_work(make_caller):
    begun = asyncio.Event()

    async def script(request):
        async for _ in house.content:
            pass
        begun.set()
        await asyncio.sleep(60)
        yield Done()

    caller, house = make_caller(script)
    call = caller.begin("POST", PATH, b"abc")
    await asyncio.wait_for(begun.wait(), 5)
    call.leave()
    await call.finish()
    assert house.ended == ["CancelledError"]


async def test_an_upload_that_stalls_is_given_up(make_caller, monkeypatch):
    monkeypatch.setattr(answering, "BODY_IDLE_SECONDS", 0.01)
    caller, house, _ = storing(make_caller)
    call = caller.begin("POST", PATH, b"")
    call.unread[:] = []
    response = await call.finish()
    assert (response.status, house.ended) == (499, ["Cancelled"])


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_other_verbs_are_not_allowed(make_caller, method):
    caller, _, _ = storing(make_caller)
    assert (await caller.call(method, PATH)).status == 405
