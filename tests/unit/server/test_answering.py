"""One answer: its first byte, its errors, its end, and callers who leave."""

from __future__ import annotations

import asyncio
import gc
import json
import logging

import pytest

from dimora.core.errors import NotFound, Overloaded, WorkerDied
from dimora.core.types import Done, Queued, Usage
from dimora.server import answering
from dimora.tasks.embed import EmbedDone, Vectors
from dimora.tasks.generation import GenerationDone, TextPiece
from dimora.tasks.list_tags import TagsFound
from dimora.tasks.read_blob import BlobOpened, BlobPiece, Part

GENERATE = json.dumps({"model": "m", "prompt": "x"}).encode()
WHOLE = json.dumps({"model": "m", "prompt": "x", "stream": False}).encode()
CHAT = json.dumps(
    {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
).encode()


def objects(response) -> list[dict]:
    return [json.loads(line) for line in response.body.splitlines()]


async def two_words(request):
    yield TextPiece(text="Buon")
    yield TextPiece(text="giorno")
    yield GenerationDone(warnings=request.warnings)


async def test_a_stream_is_sent_piece_by_piece_and_ends(make_caller):
    caller, house = make_caller(two_words)
    response = await caller.call("POST", "/api/generate", GENERATE)
    assert response.status == 200
    assert response.header("content-type") == "application/x-ndjson"
    assert response.header("cache-control") == "no-store"
    assert len(response.chunks) == 3
    assert response.finished
    assert [o["response"] for o in objects(response)] == ["Buon", "giorno", ""]
    assert house.ended == ["done"]


async def test_a_whole_answer_has_its_length(make_caller):
    caller, _ = make_caller(two_words)
    response = await caller.call("POST", "/api/generate", WHOLE)
    assert json.loads(response.body)["response"] == "Buongiorno"
    assert response.header("content-length") == str(len(response.body))


async def test_each_piece_leaves_as_soon_as_it_is_there(make_caller):
    going_on = asyncio.Event()

    async def slow(request):
        yield TextPiece(text="a")
        await going_on.wait()
        yield GenerationDone()

    caller, _ = make_caller(slow)
    call = caller.begin("POST", "/api/generate", GENERATE)
    await asyncio.wait_for(call.response.begun.wait(), 1)
    await asyncio.sleep(0)
    assert len(call.response.chunks) == 1
    going_on.set()
    assert len((await call.finish()).chunks) == 2


async def test_an_error_before_the_first_byte_has_its_own_status_and_words(make_caller):
    async def missing(request):
        raise NotFound("not in the store", hint="pull it: ciao\r\nx: y")
        yield

    caller, _ = make_caller(missing)
    response = await caller.call("POST", "/api/generate", GENERATE)
    assert response.status == 404
    assert json.loads(response.body) == {"error": "model 'm' not found"}
    assert response.header("content-type") == "application/json; charset=utf-8"
    assert response.header("x-dimora-hint") == "pull it: ciao??x: y"
    openai = await caller.call("POST", "/v1/chat/completions", CHAT)
    assert openai.status == 404
    assert json.loads(openai.body)["error"]["type"] == "not_found_error"


async def test_a_place_in_the_queue_does_not_begin_the_answer(make_caller):
    async def full(request):
        yield Queued(place=2)
        yield Queued(place=1)
        raise Overloaded("full", retry_after_seconds=7)

    caller, _ = make_caller(full)
    response = await caller.call("POST", "/api/generate", GENERATE)
    assert response.status == 503
    assert response.header("retry-after") == "7"
    assert "server busy" in json.loads(response.body)["error"]


async def test_an_error_in_the_middle_is_the_last_line_of_the_stream(make_caller):
    async def dying(request):
        yield TextPiece(text="Buon")
        raise WorkerDied("killed by signal 9")

    caller, _ = make_caller(dying)
    response = await caller.call("POST", "/api/generate", GENERATE)
    assert response.status == 200
    assert response.finished
    first, last = objects(response)
    assert first["response"] == "Buon"
    assert set(last) == {"error"}
    assert "killed by signal 9" in last["error"]


async def test_an_error_in_the_middle_of_server_sent_events_is_told_without_done(make_caller):
    async def dying(request):
        yield TextPiece(text="Buon")
        raise WorkerDied("killed")

    caller, _ = make_caller(dying)
    response = await caller.call("POST", "/v1/chat/completions", CHAT)
    last = response.body.decode().split("\n\n")[-2]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "worker_died"
    assert b"[DONE]" not in response.body


async def test_an_error_in_the_middle_of_a_whole_answer_has_its_own_status(make_caller):
    async def dying(request):
        yield TextPiece(text="Buon")
        raise WorkerDied("killed")

    caller, _ = make_caller(dying)
    assert (await caller.call("POST", "/api/generate", WHOLE)).status == 500


async def test_a_defect_is_an_internal_error_and_its_words_are_not_logged(make_caller, caplog):
    secret = "canary-4711"

    async def broken(request):
        raise ValueError(secret)
        yield

    caller, _ = make_caller(broken)
    with caplog.at_level(logging.DEBUG, "dimora"):
        response = await caller.call("POST", "/api/generate", GENERATE)
    assert response.status == 500
    assert json.loads(response.body) == {"error": "internal error"}
    assert "ValueError" in caplog.text
    assert "test_answering" in caplog.text
    assert secret not in caplog.text


@pytest.mark.parametrize("body", [GENERATE, WHOLE])
async def test_an_answer_without_its_done_is_an_error(make_caller, body):
    async def endless(request):
        yield TextPiece(text="Buon")

    caller, _ = make_caller(endless)
    response = await caller.call("POST", "/api/generate", body)
    assert "error" in objects(response)[-1]


@pytest.mark.parametrize("body", [GENERATE, WHOLE])
@pytest.mark.parametrize("said", [0, 1])
async def test_a_caller_who_leaves_cancels_the_work_at_once(make_caller, body, said):
    waiting = asyncio.Event()

    async def thinking(request):
        for _ in range(said):
            yield TextPiece(text="Buon")
        waiting.set()
        await asyncio.Event().wait()
        yield GenerationDone()

    caller, house = make_caller(thinking)
    call = caller.begin("POST", "/api/generate", body)
    await asyncio.wait_for(waiting.wait(), 1)
    call.leave()
    await call.finish()
    assert house.ended == ["CancelledError"]


async def test_a_caller_who_leaves_while_we_write_closes_the_work(make_caller):
    caller, house = make_caller(two_words)
    blocked = Blocked(caller)
    await asyncio.wait_for(blocked.stuck.wait(), 1)
    blocked.left.set()
    await asyncio.wait_for(blocked.task, 1)
    assert house.ended == ["GeneratorExit"]


class Blocked:
    """A caller who reads nothing."""

    def __init__(self, caller) -> None:
        self.stuck = asyncio.Event()
        self.left = asyncio.Event()
        self._sent = False
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/api/generate",
            "headers": [(b"host", b"localhost")],
            "client": ("127.0.0.1", 1),
        }
        self.task = asyncio.create_task(caller.app(scope, self._receive, self._send))

    async def _receive(self):
        if not self._sent:
            self._sent = True
            return {"type": "http.request", "body": GENERATE}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message) -> None:
        self.stuck.set()
        await asyncio.Event().wait()


async def test_who_leaves_before_the_body_is_whole_asks_nothing(make_caller):
    caller, house = make_caller(two_words)
    told = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        told.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/generate",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
    }
    await caller.app(scope, receive, send)
    assert (told, house.asked) == ([], [])


async def test_a_stopping_server_ends_a_stream_with_an_error(make_caller):
    waiting = asyncio.Event()

    async def thinking(request):
        yield TextPiece(text="Buon")
        waiting.set()
        await asyncio.Event().wait()

    caller, house = make_caller(thinking)
    call = caller.begin("POST", "/api/generate", GENERATE)
    await asyncio.wait_for(waiting.wait(), 1)
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.finish()
    assert objects(call.response)[-1] == {"error": "the server is stopping"}
    assert call.response.finished
    assert house.ended == ["CancelledError"]


async def test_who_waits_long_in_the_queue_of_a_stream_sees_their_place(make_caller, monkeypatch):
    monkeypatch.setattr(answering, "PATIENCE_SECONDS", 0.05)
    going_on = asyncio.Event()

    async def waiting(request):
        yield Queued(place=4)
        await going_on.wait()
        yield Queued(place=1)
        yield TextPiece(text="ciao")
        yield GenerationDone()

    caller, _ = make_caller(waiting)
    call = caller.begin("POST", "/api/generate", GENERATE)
    await asyncio.wait_for(call.response.begun.wait(), 2)
    await asyncio.sleep(0.01)
    assert [o["queue"]["place"] for o in objects(call.response)] == [4]
    going_on.set()
    told = objects(await call.finish())
    assert [o.get("queue", {}).get("place") for o in told] == [4, 1, None, None]
    assert "".join(o["response"] for o in told) == "ciao"


async def test_who_waits_for_loading_is_not_answered_early(make_caller, monkeypatch):
    """Only a queue has places: a broken model must still get its own status."""
    monkeypatch.setattr(answering, "PATIENCE_SECONDS", 0.01)

    async def loading(request):
        await asyncio.sleep(0.1)
        raise WorkerDied("killed")
        yield

    caller, _ = make_caller(loading)
    assert (await caller.call("POST", "/api/generate", GENERATE)).status == 500


async def test_whole_answers_wait_in_silence(make_caller, monkeypatch):
    monkeypatch.setattr(answering, "PATIENCE_SECONDS", 0.01)

    async def waiting(request):
        yield Queued(place=1)
        await asyncio.sleep(0.1)
        yield TextPiece(text="ciao")
        yield GenerationDone()

    caller, _ = make_caller(waiting)
    response = await caller.call("POST", "/api/generate", WHOLE)
    assert response.header("content-length")
    assert json.loads(response.body)["response"] == "ciao"


async def test_warnings_and_truncation_are_in_headers_too(make_caller):
    async def cut(request):
        yield TextPiece(text="a")
        usage = Usage(prompt_tokens=1, prompt_tokens_original=9)
        yield GenerationDone(usage=usage, warnings=(*request.warnings, "è\r\nx: y"))

    caller, _ = make_caller(cut)
    body = json.dumps({"model": "m", "prompt": "x", "stream": False, "colour": 1}).encode()
    response = await caller.call("POST", "/api/generate", body)
    assert response.header("x-dimora-truncated") == "true"
    assert response.header("x-dimora-warning") == (
        "field 'colour' is not known and was ignored, ???x: y"
    )


async def test_an_answer_without_a_body_still_carries_its_warnings(make_caller):
    async def done(request):
        yield Done(warnings=request.warnings)

    caller, _ = make_caller(done)
    body = json.dumps({"source": "a", "destination": "b", "colour": 1}).encode()
    response = await caller.call("POST", "/api/copy", body)
    assert (response.status, response.body) == (200, b"")
    assert "colour" in response.header("x-dimora-warning")


async def test_cut_texts_of_an_embedding_are_in_the_header(make_caller):
    async def cut(request):
        yield Vectors(vectors=((1.0,),))
        yield EmbedDone(truncated_texts=(0,))

    caller, _ = make_caller(cut)
    response = await caller.call("POST", "/api/embed", b'{"model":"m","input":"x"}')
    assert response.header("x-dimora-truncated") == "true"


async def test_a_bad_body_is_an_error_of_its_language_and_asks_nothing(make_caller):
    caller, house = make_caller(two_words)
    for path in ("/api/generate", "/v1/chat/completions", "/dimora/v1/ask"):
        response = await caller.call("POST", path, b"")
        assert response.status == 400
        assert b"missing request body" in response.body
    assert house.asked == []


async def test_five_hundred_callers_at_once_are_all_answered(make_caller):
    caller, house = make_caller(two_words)
    calls = [caller.begin("POST", "/api/generate", GENERATE) for _ in range(500)]
    responses = await asyncio.gather(*(c.finish() for c in calls))
    assert all(len(objects(r)) == 3 for r in responses)
    assert house.ended == ["done"] * 500


DIGEST = "sha256:" + "ab" * 32
BLOB = f"/v2/library/m/blobs/{DIGEST}"


async def a_blob(request):
    found = {"digest": DIGEST, "size_bytes": 6, "start": 0, "end": 6}
    yield BlobOpened(**found)
    if not request.only_facts:
        yield BlobPiece(data=b"abc")
        yield BlobPiece(data=b"def")
    yield Done()


async def test_an_answer_can_begin_as_its_first_event_says(make_caller):
    caller, house = make_caller(a_blob)
    response = await caller.call("GET", BLOB)
    assert (response.status, response.body) == (200, b"abcdef")
    assert response.header("content-length") == "6"
    assert response.header("docker-content-digest") == DIGEST
    assert response.chunks == [b"abc", b"def"]
    assert house.ended == ["done"]


async def test_the_head_of_a_stream_has_its_headers_and_no_body(make_caller):
    async def everything(request):
        yield BlobOpened(digest=DIGEST, size_bytes=3, start=0, end=3)
        yield BlobPiece(data=b"abc")
        yield Done()

    caller, _ = make_caller(everything)
    response = await caller.call("HEAD", BLOB)
    assert (response.status, response.body, response.finished) == (200, b"", True)
    assert response.header("content-length") == "3"


async def test_a_dialect_sees_the_headers_its_route_names_and_the_query(make_caller):
    caller, house = make_caller(a_blob)
    await caller.call("GET", BLOB, b"", [("range", "bytes=1-2"), ("authorization", "x")])
    assert house.asked[0][1].part == Part(first=1, last=2)
    twice = [("range", "bytes=1-2"), ("range", "bytes=3-4")]
    await caller.call("GET", BLOB, b"", twice)
    assert house.asked[1][1].part is None


async def test_an_answer_of_a_promised_length_that_fails_is_broken_off(make_caller):
    async def dying(request):
        yield BlobOpened(digest=DIGEST, size_bytes=6, start=0, end=6)
        yield BlobPiece(data=b"abc")
        raise WorkerDied("killed")

    caller, _ = make_caller(dying)
    response = await caller.call("GET", BLOB)
    # Only an end that never comes tells the caller: the length was sent with the first byte.
    assert (response.status, response.body, response.finished) == (200, b"abc", False)


async def test_a_missing_blob_has_its_own_status_and_words(make_caller):
    async def missing(request):
        raise NotFound("no such blob", code="blob_not_found")
        yield

    caller, _ = make_caller(missing)
    response = await caller.call("GET", BLOB)
    assert response.status == 404
    assert json.loads(response.body)["errors"][0]["code"] == "BLOB_UNKNOWN"
    head = await caller.call("HEAD", BLOB)
    assert (head.status, head.body) == (404, b"")


async def test_a_whole_answer_can_link_to_its_next_page(make_caller):
    async def tags(request):
        yield TagsFound(tags=("a", "b"))
        yield Done()

    caller, _ = make_caller(tags)
    path = "/v2/library/m/tags/list"
    whole = await caller.call("GET", path)
    assert json.loads(whole.body) == {"name": "library/m", "tags": ["a", "b"]}
    assert whole.header("link") is None
    first = await caller.call("GET", path, query="n=1")
    assert json.loads(first.body)["tags"] == ["a"]
    assert first.header("link") == f'<{path}?n=1&last=a>; rel="next"'
    last = await caller.call("GET", path, query="n=1&last=a")
    assert (json.loads(last.body)["tags"], last.header("link")) == (["b"], None)


async def test_a_caller_who_reads_no_more_gives_back_what_the_answer_holds(
    make_caller, monkeypatch
):
    monkeypatch.setattr(answering, "READING_IDLE_SECONDS", 0.05)

    async def endless(request):
        while True:
            yield TextPiece(text="a")

    caller, house = make_caller(endless)
    call = caller.begin("POST", "/api/generate", GENERATE)
    call.response.reading.clear()
    response = await call.finish()
    assert house.ended == ["GeneratorExit"]
    assert len(response.chunks) <= 1
    assert not response.finished


async def test_a_place_in_the_queue_that_nobody_reads_ends_the_wait_and_is_no_stray_error(
    make_caller, monkeypatch
):
    monkeypatch.setattr(answering, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(answering, "READING_IDLE_SECONDS", 0.05)
    strays = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: strays.append(about))
    going_on = asyncio.Event()

    async def waiting(request):
        yield Queued(place=4)
        await going_on.wait()
        yield Queued(place=3)

    caller, house = make_caller(waiting)
    call = caller.begin("POST", "/api/generate", GENERATE)
    call.response.reading.clear()
    await asyncio.wait_for(call.response.begun.wait(), 2)
    await asyncio.sleep(0.1)
    # Whoever would read again now has missed something in between.
    call.response.reading.set()
    going_on.set()
    response = await call.finish()
    assert (response.chunks, house.ended) == ([], ["GeneratorExit"])
    del call
    gc.collect()
    assert strays == []


@pytest.mark.parametrize("body", [GENERATE, WHOLE])
async def test_an_error_that_nobody_reads_is_no_defect(make_caller, monkeypatch, caplog, body):
    monkeypatch.setattr(answering, "READING_IDLE_SECONDS", 0.05)

    async def dying(request):
        yield TextPiece(text="Buon")
        call.response.reading.clear()
        raise WorkerDied("killed")

    caller, house = make_caller(dying)
    call = caller.begin("POST", "/api/generate", body)
    with caplog.at_level(logging.INFO, "dimora"):
        await call.finish()
    assert house.ended == ["WorkerDied"]
    assert "defect" not in caplog.text


@pytest.mark.parametrize("path", ["/api/generate", "/v1/chat/completions"])
async def test_a_body_that_stops_half_way_is_given_up(make_caller, monkeypatch, path):
    monkeypatch.setattr(answering, "BODY_IDLE_SECONDS", 0.01)
    caller, house = make_caller(two_words)
    call = caller.begin("POST", path, b"")
    call.unread[:] = []
    response = await call.finish()
    assert (response.status, house.asked) == (408, [])
    assert "half-way" in response.body.decode()
