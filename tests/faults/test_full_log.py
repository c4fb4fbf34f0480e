"""A disk that fills up while the house answers: what is under way is recorded, and nothing that
could not be is begun."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dimora.core.errors import InternalError
from dimora.core.settings import Settings
from dimora.core.types import Principal, Request, Usage
from dimora.governance.audit import Audit
from dimora.runtime.house import House
from dimora.tasks.delete_model import DeleteModel
from dimora.tasks.generate import Generate
from dimora.tasks.generation import Fold, TextPiece
from tests.unit.models.making import OllamaStore, tiny_gguf

OWNER = Principal(user="ada", workspace="main", roles=("owner",), proof="loopback")
SPEAKING = Generate(model="tiny", prompt="word " * 40, raw=True)


@pytest.fixture
async def house(small_disk: Path, tmp_path: Path) -> AsyncIterator[House]:
    home = small_disk / "home"
    weights = tiny_gguf(tmp_path / "tiny.gguf", context_length=4096).read_bytes()
    for name in ("tiny", "other"):
        OllamaStore(home / "models").model(
            ("registry.ollama.ai", "library", name, "latest"), [("model", weights)]
        )
    house = House(Settings(home=home, engine="echo"))
    await house.start()
    yield house
    await house.close()


def fill(disk: Path) -> Path:
    """Leave no byte, on the disk and in the last block of the log."""
    log = disk / "home" / "log" / "audit.jsonl"
    if size := log.stat().st_size:
        line = {"time": "", "ended": "", "request": ""}
        rest = 4096 - size % 4096 - len(json.dumps(line)) - 1
        with log.open("a") as file:
            file.write(json.dumps(line | {"ended": "x" * rest}) + "\n")
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue
    return filler


def ended(house: House) -> list[tuple[str, str]]:
    """What the whole lines say; one that the full disk cut is there again, whole."""
    records = []
    for line in house.settings.audit_path.read_text().splitlines():
        with contextlib.suppress(ValueError):
            records.append(json.loads(line))
    return [(r["request"], r["ended"]) for r in records if r["request"]]


async def ask(house: House, request: Request) -> list[Any]:
    return [event async for event in house.run(OWNER, request)]


async def test_what_is_under_way_is_recorded_and_nothing_else_begins_until_there_is_room(
    house: House, small_disk: Path
) -> None:
    await ask(house, SPEAKING)
    streams = [house.run(OWNER, SPEAKING) for _ in range(3)]
    for stream in streams:
        async for event in stream:
            if isinstance(event, TextPiece):
                break
    filler = fill(small_disk)
    told = [[event async for event in stream] for stream in streams]
    assert all(Fold.of(events).ended for events in told)
    assert ended(house) == [("generate", "done")] * 4

    for request in (SPEAKING, DeleteModel(model="other")):
        for _ in range(20):
            with pytest.raises(InternalError, match="No space left") as refused:
                await ask(house, request)
            assert refused.value.code == "audit_unavailable"
    assert ended(house) == [("generate", "done")] * 4
    assert house.models.locate("other") is not None
    assert b'ended="audit_unavailable"' in house.metrics()

    filler.unlink()
    await ask(house, DeleteModel(model="other"))
    assert ended(house)[4:] == [("delete_model", "done")]
    assert (small_disk / "home" / "log" / "audit.reserve").stat().st_size == 256 << 10


async def test_another_process_sees_that_the_reserve_is_gone_and_its_own_records_still_fit(
    house: House, small_disk: Path
) -> None:
    """Two houses of one home, as a server and a command beside it are."""
    await ask(house, SPEAKING)
    beside = Audit(house.settings.audit_path)
    beside.check()
    stream = house.run(OWNER, SPEAKING)
    await anext(aiter(stream))
    fill(small_disk)
    assert [event async for event in stream]
    with pytest.raises(InternalError, match="No space left"):
        beside.check()
    many = 500
    for _ in range(many):
        beside.record(OWNER, SPEAKING, ended="done", usage=Usage(), seconds=0.0)
    assert ended(house) == [("generate", "done")] * (many + 2)
    beside.close()
