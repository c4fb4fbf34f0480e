from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial

import pytest

from dimora.cli import writing
from dimora.cli.commands import knowledge
from dimora.cli.main import program
from dimora.core.settings import Settings
from dimora.core.types import Event
from dimora.tasks.ask_documents import AskDocuments
from dimora.tasks.generation import GenerationDone, TextPiece


@pytest.mark.parametrize(("is_interrupted", "code"), [(False, 0), (True, 130)])
def test_an_answer_that_was_interrupted_has_the_code_of_that(
    tmp_path, monkeypatch, is_interrupted, code
):
    class Door:
        def ask(self, request: AskDocuments) -> Iterator[Event]:
            yield TextPiece(text="so far")
            if is_interrupted:
                raise KeyboardInterrupt
            yield GenerationDone()

    monkeypatch.setattr(knowledge, "settings_here", lambda: Settings(home=tmp_path))
    monkeypatch.setattr(knowledge, "door_here", lambda settings: nullcontext(Door()))
    monkeypatch.setattr(knowledge, "pull_if_missing", lambda door, name: None)
    out = io.StringIO()
    monkeypatch.setattr(writing, "write_answer", partial(writing.write_answer, out=out))
    asked = program.main(["knowledge", "ask", "what?"], standalone_mode=False)
    assert asked == code
    assert out.getvalue() == "so far\n"
