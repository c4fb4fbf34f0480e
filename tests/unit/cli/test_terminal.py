from __future__ import annotations

import pytest

from dimora.cli.session import Session
from dimora.cli.terminal import SessionHistory


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home" / "history"


def test_what_is_typed_is_kept_where_only_its_owner_reads(path):
    SessionHistory(path, Session(model="m")).append_string("hello")
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(SessionHistory(path, Session(model="m")).load_history_strings()) == ["hello"]


def test_from_the_moment_nobody_wants_a_history_nothing_more_is_written(path):
    session = Session(model="m")
    history = SessionHistory(path, session)
    history.append_string("before")
    session.set("nohistory")
    history.append_string("a secret")
    session.set("history")
    history.append_string("after")
    kept = path.read_text()
    assert "a secret" not in kept
    assert list(history.load_history_strings()) == ["after", "before"]


def test_a_session_without_history_neither_reads_nor_makes_the_file(path):
    history = SessionHistory(path, Session(model="m", history=False))
    history.append_string("a secret")
    assert not path.exists()
    SessionHistory(path, Session(model="m")).append_string("earlier")
    assert list(history.load_history_strings()) == []
