from __future__ import annotations

import pytest

from dimora.core.errors import BadRequest
from dimora.core.types import Progress
from dimora.tasks.optimize_model import OptimizeModel, run


class Rooms:
    """A keeper of models that writes down what it is asked."""

    def __init__(self) -> None:
        self.models = self
        self.asked: list[object] = []

    async def optimize(self, *wishes):
        self.asked.append(wishes[:-1])
        wishes[-1].append("it could be better")
        yield Progress(status="success")


async def test_another_engine_is_refused_by_name():
    rooms = Rooms()
    with pytest.raises(BadRequest, match="'llama_cpp'") as caught:
        async for _ in run(OptimizeModel(model="n", source="m", engine="llama_cpp"), rooms):
            pass
    assert "dimora quantize" in caught.value.hint
    assert rooms.asked == []


async def test_what_is_wished_is_passed_on_and_what_is_warned_of_comes_back():
    rooms = Rooms()
    wish = OptimizeModel(model="n", source="m", bits=4, group=32, warnings=("first",))
    *_, done = [event async for event in run(wish, rooms)]
    assert rooms.asked == [("n", "m", 4, 32)]
    assert done.warnings == ("first", "it could be better")
