"""Many inputs, one task: each has its line, and what was done is not done again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from dimora.cli import doing
from dimora.core.errors import BadRequest
from dimora.core.settings import Settings
from dimora.core.types import Done, Event
from dimora.tasks.ready import SHELF
from dimora.tasks.ready.base import Answered
from dimora.tasks.ready.summarize import Summarize


class Door:
    """Answers with the text itself, and with an error where that is `bad`."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def ask(self, request: Summarize) -> Iterator[Event]:
        self.asked.append(request.text)
        if request.text == "bad":
            raise BadRequest("\x1b[31mno")
        yield Answered(result={"summary": request.text}, language="en")
        yield Done()


@pytest.fixture
def do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[Door, int]]:
    def run() -> tuple[Door, int]:
        door = Door()
        monkeypatch.setattr(doing, "door_here", lambda settings: nullcontext(door))
        monkeypatch.setattr(doing, "pull_if_missing", lambda door, name: None)
        code = doing.do_many(
            SHELF.load("summarize"),
            {"request": "summarize", "model": "m"},
            tmp_path / "in",
            tmp_path / "out.jsonl",
            Settings(home=tmp_path / "home"),
        )
        return door, code

    (tmp_path / "in").mkdir()
    return run


def told(tmp_path: Path) -> list[tuple[str, str | None]]:
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    return [(line["input"], line["summary"]) for line in map(json.loads, lines)]


def test_one_text_of_two_names_is_asked_once_and_told_twice(do, tmp_path, capsys):
    for name, text in (("a", "uno"), ("b", "due"), ("c", "uno")):
        (tmp_path / "in" / f"{name}.txt").write_text(text)
    door, code = do()
    assert (door.asked, code) == (["uno", "due"], 0)
    assert told(tmp_path) == [("a.txt", "uno"), ("b.txt", "due"), ("c.txt", "uno")]
    (tmp_path / "in" / "a.txt").rename(tmp_path / "in" / "d.txt")
    (tmp_path / "in" / "a.txt").write_text("tre")
    door, _ = do()
    assert door.asked == ["tre"]
    expected = [("a.txt", "tre"), ("b.txt", "due"), ("c.txt", "uno"), ("d.txt", "uno")]
    assert told(tmp_path) == expected
    assert "1 done, 3 were there" in capsys.readouterr().err


def test_an_error_is_told_harmlessly_for_each_of_its_inputs(do, tmp_path, capsys):
    for name in "ab":
        (tmp_path / "in" / f"{name}.txt").write_text("bad")
    _, code = do()
    assert code == 1
    assert told(tmp_path) == [("a.txt", None), ("b.txt", None)]
    said = capsys.readouterr().err
    assert "2 failed" in said and "\x1b" not in said
