"""A workspace's file is ours, of this version, and says what is wrong with it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlcipher3 import dbapi2

from dimora.core.errors import ConfigurationError, Conflict, DimoraError, InternalError
from dimora.knowledge import schema, workspace_file
from dimora.knowledge.keeping import Keeper
from dimora.knowledge.workspace_file import WorkspaceFile, file_name
from tests.unit.knowledge.making import keeper_with_notes, put, search


@pytest.mark.parametrize("name", ["main", "team-2", "a_b"])
def test_a_plain_name_is_the_files(name: str):
    assert file_name(name) == f"{name}.db"


def test_other_names_are_told_apart_and_lead_nowhere():
    odd = [
        "Main",
        "MAIN",
        "a/b",
        "a\\b",
        "..",
        "../main",
        "",
        "con",
        "città",
        "a b",
        "x" * 99,
        "a\0",
    ]
    files = [file_name(name) for name in [*odd, "main", "a-b"]]
    assert len(set(files)) == len(files)
    assert len({name.casefold() for name in files}) == len(files)
    for name in files:
        assert Path(name).name == name
        assert not name.startswith(".")
        assert name.isascii()


def test_what_fails_half_way_leaves_nothing(tmp_path: Path):
    file = WorkspaceFile(tmp_path / "k" / "main.db")
    with pytest.raises(RuntimeError), file.writing() as connection:
        connection.execute("INSERT INTO facts VALUES ('a', 'b')")
        raise RuntimeError
    with file.reading() as connection:
        assert connection.execute("SELECT count(*) FROM facts").fetchone() == (0,)


def test_who_reads_sees_one_state_while_another_writes(tmp_path: Path):
    file = WorkspaceFile(tmp_path / "k" / "main.db")
    with file.writing() as connection:
        connection.execute("INSERT INTO facts VALUES ('a', 'old')")
    query = "SELECT value FROM facts WHERE name = 'a'"
    with file.reading() as reading:
        assert reading.execute(query).fetchone() == ("old",)
        with file.writing() as connection:
            connection.execute("UPDATE facts SET value = 'new'")
        assert reading.execute(query).fetchone() == ("old",)
    with file.reading() as reading:
        assert reading.execute(query).fetchone() == ("new",)


def test_what_a_reader_kept_from_being_wiped_is_wiped_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(workspace_file, "_PATIENCE_SECONDS", 0.05)
    path = tmp_path / "k" / "main.db"
    file, other = WorkspaceFile(path), WorkspaceFile(path)
    with file.writing() as connection:
        connection.execute("INSERT INTO facts VALUES ('a', 'zanzibarcanary')")
    with other.reading() as reading:
        reading.execute("SELECT * FROM facts").fetchall()
        with file.writing() as connection:
            connection.execute("DELETE FROM facts")
        file.wipe()
        assert b"zanzibarcanary" in _bytes(path)
    with file.writing() as connection:
        connection.execute("INSERT INTO facts VALUES ('b', 'c')")
    assert b"zanzibarcanary" not in _bytes(path)


def _bytes(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


@pytest.mark.parametrize("content", [b"hello, this is a letter\n" * 400, b"\0" * 8192])
def test_a_file_that_is_no_database_is_told_and_left_alone(tmp_path: Path, content: bytes):
    path = tmp_path / "main.db"
    path.write_bytes(content)
    for ask in (lambda k: k.collections(), lambda k: k.make_collection("a", "e", hidden=False)):
        with pytest.raises(ConfigurationError) as caught:
            ask(Keeper(path))
        assert caught.value.code == "knowledge_foreign"
        assert caught.value.hint
        assert str(tmp_path) not in caught.value.text
    assert path.read_bytes() == content


def test_a_database_of_another_program_is_told_and_left_alone(tmp_path: Path):
    path = tmp_path / "main.db"
    connection = dbapi2.connect(str(path), isolation_level=None)
    connection.execute("CREATE TABLE documents (name TEXT)")
    connection.close()
    content = path.read_bytes()
    with pytest.raises(ConfigurationError, match="another program"):
        Keeper(path).make_collection("a", "e", hidden=False)
    assert path.read_bytes() == content


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path):
    keeper = keeper_with_notes(tmp_path)
    path = tmp_path / "knowledge" / "main.db"
    keeper.close()
    connection = dbapi2.connect(str(path), isolation_level=None)
    connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    connection.close()
    with pytest.raises(ConfigurationError, match="newer"):
        keeper.collections()


def test_a_file_of_an_older_version_is_brought_up_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    keeper = keeper_with_notes(tmp_path)
    put(keeper, "notes", "a.txt", "a walnut")
    keeper.close()
    done: list[str] = []

    def upgrade(connection: object) -> None:
        done.append("upgraded")
        connection.execute("ALTER TABLE documents ADD COLUMN more TEXT NOT NULL DEFAULT 'x'")  # type: ignore[attr-defined]

    monkeypatch.setattr(schema, "UPGRADES", (*schema.UPGRADES, upgrade))
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    for _ in range(2):
        newer = Keeper(tmp_path / "knowledge" / "main.db")
        assert [p.document for p in search(newer, "walnut")] == ["a.txt"]
        put(newer, "notes", "b.txt", "b")
        newer.close()
    assert done == ["upgraded"]


def test_an_upgrade_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    keeper = keeper_with_notes(tmp_path)
    keeper.close()

    def upgrade(connection: object) -> None:
        connection.execute("DROP TABLE vectors")  # type: ignore[attr-defined]
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(schema, "UPGRADES", (*schema.UPGRADES, upgrade))
        patch.setattr(schema, "VERSION", schema.VERSION + 1)
        with pytest.raises(RuntimeError):
            keeper.collections()
    put(keeper, "notes", "a.txt", "a walnut")
    assert search(keeper, "walnut")


def test_a_writer_that_does_not_end_is_a_conflict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workspace_file, "_PATIENCE_SECONDS", 0.05)
    path = tmp_path / "k" / "main.db"
    file, other = WorkspaceFile(path), WorkspaceFile(path)
    with file.writing(), pytest.raises(Conflict), other.writing():
        pass
    with other.writing() as connection:
        connection.execute("INSERT INTO facts VALUES ('a', 'b')")


def test_threads_wait_for_each_other(tmp_path: Path):
    keeper = keeper_with_notes(tmp_path)

    def work(number: int) -> None:
        for at in range(5):
            put(keeper, "notes", f"{number}-{at}.txt", f"walnut {number} {at}")
            assert search(keeper, f"walnut {number}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert keeper.collection("notes").documents == 20


@pytest.mark.parametrize("table", ["pieces", "collections"])
def test_rows_that_make_no_sense_are_damage(tmp_path: Path, table: str):
    keeper = keeper_with_notes(tmp_path)
    put(keeper, "notes", "a.txt", "a walnut")
    column = "headings" if table == "pieces" else "folders"
    with keeper._file.writing() as connection:
        connection.execute(f"UPDATE {table} SET {column} = '['")
    with pytest.raises(InternalError) as caught:
        search(keeper, "walnut") if table == "pieces" else keeper.collections()
    assert caught.value.code == "knowledge_damaged"


def test_vectors_that_make_no_sense_are_damage(tmp_path: Path):
    keeper = keeper_with_notes(tmp_path)
    put(keeper, "notes", "a.txt", "a walnut")
    with keeper._file.writing() as connection:
        connection.execute("UPDATE vectors SET data = x'00'")
    with pytest.raises(DimoraError) as caught:
        search(keeper, "walnut")
    assert caught.value.code == "knowledge_damaged"
