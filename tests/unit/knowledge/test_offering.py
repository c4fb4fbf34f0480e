"""Folders are walked: what is hidden, leads out, or is nothing to read is passed over."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from dimora.core.errors import BadRequest, Conflict, NotFound
from dimora.knowledge.offering import digest_of, offers_of, with_bytes
from dimora.tasks.knowing import KnownDocument, Offered, gone_from


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "papers"
    for name in (
        "b.txt",
        "a/z.md",
        "a/b/c.txt",
        ".hidden.txt",
        ".git/d.txt",
        "a/.e/f.txt",
        "g.x",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_files_of_a_folder_are_named_from_it_on_in_order(folder: Path):
    found = offers_of([str(folder)])
    assert [one.name for one in found] == ["papers/a/b/c.txt", "papers/a/z.md", "papers/b.txt"]
    assert {one.folder for one in found} == {str(folder)}
    last = found[-1]
    told = (folder / "b.txt").stat()
    assert (last.path, last.size_bytes) == (str(folder / "b.txt"), told.st_size)
    assert last.modified_at == told.st_mtime


def test_a_file_that_is_named_is_offered_whatever_it_is(folder: Path):
    found = offers_of([str(folder / ".hidden.txt"), str(folder / "g.x")])
    assert [(one.name, one.folder) for one in found] == [(".hidden.txt", ""), ("g.x", "")]


def test_a_file_that_is_named_twice_is_offered_once(folder: Path):
    found = offers_of([str(folder / "a"), str(folder), str(folder / "b.txt")])
    assert len({one.path for one in found}) == len(found) == 3


def test_links_out_of_the_folder_and_to_folders_are_not_followed(folder: Path, tmp_path: Path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "o.txt").write_text("o")
    (folder / "out.txt").symlink_to(secret)
    (folder / "within.txt").symlink_to(folder / "b.txt")
    (folder / "nowhere.txt").symlink_to(folder / "none.txt")
    (folder / "round.txt").symlink_to(folder / "round.txt")
    (folder / "loop").symlink_to(folder)
    (folder / "other").symlink_to(tmp_path / "other")
    names = [one.name for one in offers_of([str(folder)])]
    assert names == ["papers/a/b/c.txt", "papers/a/z.md", "papers/b.txt", "papers/within.txt"]


def test_pipes_are_passed_over_and_refused(folder: Path):
    os.mkfifo(folder / "pipe.txt")
    assert "papers/pipe.txt" not in [one.name for one in offers_of([str(folder)])]
    with pytest.raises(BadRequest):
        with_bytes(Offered(name="pipe.txt", path=str(folder / "pipe.txt")), 100)


def test_what_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(NotFound):
        offers_of([str(tmp_path / "none")])
    with pytest.raises(NotFound):
        with_bytes(Offered(name="none", path=str(tmp_path / "none")), 100)


def test_a_file_comes_with_its_bytes_and_digest(folder: Path):
    offered = offers_of([str(folder / "b.txt")])[0]
    whole = with_bytes(offered, 100)
    digest = hashlib.sha256(b"b.txt").hexdigest()
    assert (whole.data, whole.digest, whole.size_bytes) == (b"b.txt", digest, 5)
    assert digest_of(offered) == digest == digest_of(Offered(name="x", data=b"b.txt"))
    with pytest.raises(BadRequest):
        with_bytes(offered, 4)


def test_names_that_are_no_utf8_are_text_of_their_own_and_can_be_opened(tmp_path: Path):
    folder = tmp_path / os.fsdecode(b"caf\xe9s")
    folder.mkdir()
    for name in (b"th\xe9.txt", b"th\xe8.txt", b"tea.txt"):
        (folder / os.fsdecode(name)).write_bytes(name)
    found = offers_of([str(folder)])
    for one in found:
        assert one.name.encode() and one.folder.encode() and one.name.endswith(".txt")
        assert one.name.startswith(f"{Path(one.folder).name}/")
    assert len({one.name for one in found}) == 3
    read = {with_bytes(one, 100).data for one in found}
    assert read == {b"th\xe9.txt", b"th\xe8.txt", b"tea.txt"}


def test_two_files_of_one_name_are_refused_by_both_their_names(tmp_path: Path):
    paths = [tmp_path / part / "readme.md" for part in ("x", "y")]
    for path in paths:
        path.parent.mkdir()
        path.write_text("read me")
    with pytest.raises(Conflict) as caught:
        offers_of([str(path) for path in paths])
    assert all(str(path) in caught.value.message for path in paths)
    assert "folder" in caught.value.hint and "another collection" in caught.value.hint


def test_what_nobody_can_look_at_is_told_and_what_is_known_of_it_is_not_gone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    known = [
        KnownDocument(id=one.name, name=one.name, digest="") for one in offers_of([str(folder)])
    ]
    (folder / "a" / "z.md").unlink()
    list_names, tell = os.scandir, Path.stat

    def away(path: str) -> object:
        if str(path).endswith("/b"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return list_names(path)

    def flaky(path: Path, **how: bool) -> os.stat_result:
        if path.name in ("b.txt", "g.x"):
            raise OSError(errno.EIO, "Input/output error")
        return tell(path, **how)

    monkeypatch.setattr(os, "scandir", away)
    monkeypatch.setattr(Path, "stat", flaky)
    found = offers_of([str(folder)])
    assert {one.name: one.error for one in found} == {
        "papers/a/b": "Permission denied",
        "papers/b.txt": "Input/output error",
        "papers/g.x": "Input/output error",
    }
    assert "Permission denied" in found[0].warning
    assert [one.name for one in gone_from([str(folder)], found, known)] == ["papers/a/z.md"]


def test_a_folder_on_a_share_that_is_away_is_told_and_not_taken_for_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    def stale(path: Path, **_: bool) -> os.stat_result:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(Path, "stat", stale)
    (told,) = offers_of([str(folder)])
    assert (told.name, told.error) == ("papers", "Stale file handle")


def test_a_file_whose_disk_fails_while_it_is_read_costs_itself(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    offered = offers_of([str(folder / "b.txt")])[0]
    tell = os.fstat

    def fail(file: int) -> os.stat_result:
        if tell(file).st_ino == (folder / "b.txt").stat().st_ino:
            raise OSError(errno.EIO, "Input/output error")
        return tell(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", fail)
        for read in (digest_of, lambda one: with_bytes(one, 100)):
            with pytest.raises(BadRequest, match="Input/output error"):
                read(offered)
