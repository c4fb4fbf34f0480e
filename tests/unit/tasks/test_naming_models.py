"""Names that are given and taken away: the wait for locks and disks is in a thread."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from dimora.core.errors import NotFound
from dimora.core.types import Done
from dimora.tasks import copy_model, delete_model


class Models:
    """Notes in which thread a name is changed."""

    def __init__(self) -> None:
        self.changed: list[tuple[str, int]] = []

    def find(self, name: str) -> Any:
        raise NotFound("none")

    def delete(self, name: str) -> None:
        self.changed.append((name, threading.get_ident()))

    def copy(self, source: str, destination: str) -> None:
        self.changed.append((f"{source} {destination}", threading.get_ident()))


async def test_a_change_of_names_does_not_keep_others_waiting() -> None:
    models = Models()
    rooms: Any = SimpleNamespace(models=models)
    for run, request in (
        (delete_model.run, delete_model.DeleteModel(model="a")),
        (copy_model.run, copy_model.CopyModel(model="a", destination="b")),
    ):
        events = [event async for event in run(request, rooms)]  # type: ignore[operator]
        assert isinstance(events[-1], Done)
    assert [name for name, _ in models.changed] == ["a", "a b"]
    assert threading.get_ident() not in {thread for _, thread in models.changed}
