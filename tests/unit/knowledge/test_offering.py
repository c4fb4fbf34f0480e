"""Folders are walked: what is hidden, leads out, or is nothing to read is passed over."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from dimora.core.errors import BadRequest, NotFound
from dimora.knowledge.offering import digest_of, offers_of, with_bytes
from dimora.tasks.knowing import Offered


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
