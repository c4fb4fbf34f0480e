"""Parts of a blob: which bytes come, in how many pieces, and that the file is let go."""

from __future__ import annotations

import pytest

from dimora.core.errors import InvalidModel
from dimora.core.types import Done
from dimora.tasks import read_blob
from dimora.tasks.read_blob import BlobOpened, BlobPiece, Part, ReadBlob

DATA = bytes(range(256)) * 4


class Opened:
    digest = "sha256:x"

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.closed = False
        self.largest = 0

    def read(self, start: int, length: int) -> bytes:
        self.largest = max(self.largest, length)
        return DATA[start : start + length]

    def close(self) -> None:
        self.closed = True


class Asking:
    """Rooms with one blob."""

    def __init__(self, size_bytes: int = len(DATA)) -> None:
        self.models = self
        self.opened = Opened(size_bytes)

    def open_blob(self, repository: str, digest: str) -> Opened:
        return self.opened


async def ask(part: Part | None = None, rooms: Asking | None = None, **more):
    rooms = rooms or Asking()
    request = ReadBlob(model="x", digest="sha256:x", part=part, **more)
    events = [event async for event in read_blob.run(request, rooms)]
    assert rooms.opened.closed
    assert isinstance(events[-1], Done)
    assert isinstance(events[0], BlobOpened)
    pieces = b"".join(e.data for e in events if isinstance(e, BlobPiece))
    assert len(pieces) == (0 if request.only_facts else events[0].end - events[0].start)
    return events[0], pieces


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (None, DATA),
        (Part(first=0), DATA),
        (Part(first=1000), DATA[1000:]),
        (Part(first=3, last=3), DATA[3:4]),
        (Part(first=3, last=10**15), DATA[3:]),
        (Part(last=5), DATA[-5:]),
        (Part(last=10**15), DATA),
    ],
)
async def test_the_bytes_that_were_asked_for_come(part, expected, monkeypatch):
    monkeypatch.setattr(read_blob, "PIECE_BYTES", 100)
    rooms = Asking()
    found, data = await ask(part, rooms)
    assert data == expected
    assert (found.size_bytes, found.outside) == (len(DATA), False)
    assert rooms.opened.largest <= 100


@pytest.mark.parametrize("part", [Part(first=len(DATA)), Part(first=10**15, last=10**16)])
async def test_a_part_outside_of_the_file_has_no_bytes(part):
    found, data = await ask(part)
    assert (found.outside, data) == (True, b"")


async def test_the_last_zero_bytes_are_outside():
    assert (await ask(Part(last=0)))[0].outside


async def test_an_empty_file_has_no_parts_but_a_whole():
    class Empty(Asking):
        def __init__(self) -> None:
            super().__init__(0)

    assert not (await ask(None, Empty()))[0].outside
    assert (await ask(Part(first=0), Empty()))[0].outside
    assert (await ask(Part(last=1), Empty()))[0].outside


async def test_facts_alone_read_nothing():
    rooms = Asking()
    found, _ = await ask(None, rooms, only_facts=True)
    assert (found.start, found.end, rooms.opened.largest) == (0, len(DATA), 0)


async def test_a_file_that_ends_early_is_an_error_and_let_go():
    rooms = Asking(len(DATA) + 1)
    with pytest.raises(InvalidModel):
        await ask(None, rooms)
    assert rooms.opened.closed


async def test_a_reader_who_leaves_lets_the_file_go():
    rooms = Asking()
    stream = read_blob.run(ReadBlob(model="x", digest="sha256:x"), rooms)
    await anext(stream)
    await stream.aclose()
    assert rooms.opened.closed
