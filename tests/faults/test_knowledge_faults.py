"""A kill, a failing and a full disk at file operations of taking documents in and out; damage.

Each document is there as it was or as it will be, whole: its pieces, vectors and words. The user
hears it in words, and the next try ends as one without faults would have.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlcipher3 import dbapi2

from dimora.core.errors import Conflict, DimoraError
from dimora.knowledge import workspace_file
from dimora.knowledge.keeping import Keeper
from tests.conftest import LONG, environment
from tests.faults import taking_in
from tests.faults.faulty_disk import (
    Fault,
    FaultyProgram,
    Mode,
    build,
    compiler,
    faulty_program,
)
from tests.faults.test_read_only_store import _bound_by_rights
from tests.unit.knowledge.making import keeper_with_notes, put, search

SOME = 14
STORY = str(Path(taking_in.__file__))
on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="the disk is made to fail as Linux can"
)


class Stage:
    """A workspace's file as it is before, and the program that changes it on a faulty disk."""

    def __init__(self, directory: Path, program: FaultyProgram) -> None:
        self.root, self._before = directory / "root", directory / "before"
        self.path = self.root / "main.db"
        self._program = program
        taking_in.begin(self._before / "main.db")
        self.reset()
        ended = program.learn([STORY, str(self.path)], self._environment)
        assert ended.status == 0, ended.said

    @property
    def _environment(self) -> dict[str, str]:
        return environment(self.root)

    def reset(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self._before, self.root)

    def run(self, fault: Fault | None = None) -> tuple[int, list[str]]:
        """Its status, and what it said."""
        ended = self._program.run([STORY, str(self.path)], self._environment, fault)
        return ended.status, ended.said.splitlines()

    def operations(self) -> list[tuple[int, str]]:
        """Numbers and kinds of what the program does with its files."""
        self.reset()
        self.run(Fault(Mode.NOTE))
        return [(one.number, one.kind) for one in self._program.noted()]

    def check(self, said: list[str]) -> None:
        """Every document is whole, before or after; after, where the program said so."""
        self._program.set(None)
        keeper = Keeper(self.path)
        there = {document.name: document for document in keeper.documents("notes")}
        for name, before in taking_in.BEFORE.items():
            after = taking_in.AFTER[name]
            text = there[name].digest if name in there else ""
            assert text in ({after} if name in said else {before, after}), name
            if text:
                pieces = keeper.pieces("notes", name)
                assert len(pieces) == there[name].chunks == taking_in.PIECES
                assert all(piece.text.startswith(text) for piece in pieces)
            for other in {before, after} - {text, ""}:
                assert search(keeper, other.split()[-1]) == [], other
        words = search(keeper, "walnut", limit=20)
        vectors = search(keeper, vector=[1.0] * 8, limit=20)
        assert {p.document for p in words} == {p.document for p in vectors} == set(there)
        with keeper._file.reading() as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        keeper.close()

    def finish(self) -> None:
        status, said = self.run()
        assert status == 0, said
        self.check(list(taking_in.AFTER))
        left = b"".join(path.read_bytes() for path in self.root.iterdir())
        assert taking_in.CANARY.encode() not in left
        assert b"zanzibarcanar" not in left


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    if compiler() is None:
        pytest.skip("a C compiler is not installed: faults of the disk are not tried")
    directory = tmp_path_factory.mktemp("faults")
    library = build(directory)
    (directory / "root").mkdir()
    with faulty_program(library, directory, directory / "root") as program:
        yield Stage(directory, program)


def chosen(numbers: list[int]) -> list[int]:
    """All of them, or some from the first to the last."""
    if LONG or len(numbers) <= SOME:
        return numbers
    return sorted({numbers[at * (len(numbers) - 1) // (SOME - 1)] for at in range(SOME)})


@on_linux
@pytest.mark.timeout(3600 if LONG else 120)
@pytest.mark.parametrize("mode", [Mode.KILL, Mode.TEAR])
def test_a_program_killed_at_any_operation_leaves_each_document_whole(stage: Stage, mode: Mode):
    numbers = [number for number, kind in stage.operations() if kind != "looks"]
    assert len(numbers) > 20
    for number in chosen(numbers):
        stage.reset()
        status, said = stage.run(Fault(mode, number))
        assert status == -signal.SIGKILL, (number, said)
        stage.check(said)
        stage.finish()


@on_linux
@pytest.mark.timeout(3600 if LONG else 120)
def test_a_disk_that_gets_full_is_told_and_leaves_each_document_whole(stage: Stage):
    numbers = [number for number, kind in stage.operations() if kind == "takes"]
    codes: set[str] = set()
    for number in chosen(numbers):
        stage.reset()
        status, said = stage.run(Fault(Mode.ONWARDS, number, errno.ENOSPC))
        if status:
            assert said[-1].startswith("error "), said
            codes.add(said[-1])
        stage.check(said)
        stage.finish()
    # What SQLite itself cannot tell from a broken disk is told as one.
    assert "error storage_full" in codes
    assert codes <= {"error storage_full", "error disk_failed", "error knowledge_read_only"}


@on_linux
@pytest.mark.timeout(3600 if LONG else 120)
def test_a_disk_that_fails_once_is_told_and_leaves_each_document_whole(stage: Stage):
    for number in chosen([number for number, _ in stage.operations()]):
        stage.reset()
        status, said = stage.run(Fault(Mode.ONCE, number, errno.EIO))
        if status:
            assert said[-1].startswith("error "), said
            assert said[-1] != "error internal_error"
        stage.check(said)
        stage.finish()


def test_a_damaged_page_is_told_whichever_it_is(tmp_path: Path):
    keeper = keeper_with_notes(tmp_path)
    for at in range(8):
        put(keeper, "notes", f"{at}.txt", f"walnut {at} " + "many words " * 200)
    keeper.close()
    path = tmp_path / "knowledge" / "main.db"
    whole = path.read_bytes()
    pages = range(len(whole) // 4096)
    told: set[str] = set()
    for page in pages if LONG else pages[:: max(1, len(pages) // 12)]:
        for junk in (b"\xff" * 4096, b"\0" * 4096, os.urandom(4096)):
            path.write_bytes(whole[: page * 4096] + junk + whole[(page + 1) * 4096 :])
            damaged = Keeper(path)
            try:
                damaged.collections()
                search(damaged, "walnut many", limit=20)
                search(damaged, vector=[1.0] * 8, limit=20)
                [damaged.pieces("notes", one.name) for one in damaged.documents("notes")]
                put(damaged, "notes", "1.txt", "another")
            except DimoraError as error:
                told.add(error.code)
                assert str(tmp_path) not in error.text
                assert "walnut" not in error.text
            finally:
                damaged.close()
            for rest in path.parent.iterdir():
                if rest != path:
                    rest.unlink()
    assert "knowledge_damaged" in told
    assert told <= {"knowledge_damaged", "knowledge_foreign", "collection_not_found"}


def test_a_second_writer_waits_and_gives_up_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    keeper = keeper_with_notes(tmp_path)
    put(keeper, "notes", "a.txt", "a walnut")
    keeper.close()
    other = dbapi2.connect(str(tmp_path / "knowledge" / "main.db"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(workspace_file, "_PATIENCE_SECONDS", 0.3)
    began = time.monotonic()
    with pytest.raises(Conflict):
        put(keeper, "notes", "b.txt", "b")
    assert time.monotonic() - began >= 0.3
    # Who reads does not wait.
    assert [p.document for p in search(keeper, "walnut")] == ["a.txt"]
    other.execute("ROLLBACK")
    put(keeper, "notes", "b.txt", "b")
    other.close()


def test_two_processes_take_documents_in_at_once(tmp_path: Path):
    path = tmp_path / "knowledge" / "main.db"
    keeper_with_notes(tmp_path).close()
    program = (
        "import sys; from pathlib import Path; from dimora.knowledge.keeping import Keeper;"
        "from tests.unit.knowledge.making import put, search; k = Keeper(Path(sys.argv[1]));"
        "[(put(k, 'notes', f'{sys.argv[2]}-{at}.txt', f'walnut {at}'), search(k, 'walnut'))"
        " for at in range(20)]"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path), name], cwd=Path(__file__).parents[2]
        )
        for name in ("one", "two")
    ]
    assert [process.wait(60) for process in running] == [0, 0]
    assert len(Keeper(path).documents("notes")) == 40


@on_linux
@pytest.mark.parametrize("part", ["file", "folder"])
def test_what_may_not_be_written_is_told(tmp_path: Path, part: str):
    path = tmp_path / "knowledge" / "main.db"
    taking_in.begin(path)
    whole = path.read_bytes()
    if part == "file":
        path.chmod(0o400)
    else:
        path.parent.chmod(0o500)
    try:
        ran = subprocess.run(
            [sys.executable, STORY, str(path)],
            capture_output=True,
            text=True,
            timeout=60,
            preexec_fn=_bound_by_rights,
        )
    finally:
        path.parent.chmod(0o700)
    assert ran.returncode == 1, ran.stderr
    assert ran.stdout == "error knowledge_read_only\n"
    assert path.read_bytes() == whole
