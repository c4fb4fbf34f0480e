"""Names for files that are called by their digests."""

from __future__ import annotations

import stat

import pytest

from dimora.engines._folder_links import linked_folder


def test_files_have_their_names_while_they_are_needed(tmp_path):
    (tmp_path / "blob1").write_text("one")
    (tmp_path / "blob2").write_text("two")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    files = {"a.json": str(tmp_path / "blob1"), "sub/b.bin": str(tmp_path / "blob2")}
    with linked_folder(files, str(scratch)) as folder:
        assert (folder / "a.json").read_text() == "one"
        assert (folder / "sub" / "b.bin").read_text() == "two"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(scratch.iterdir()) == []
    assert (tmp_path / "blob1").read_text() == "one"


def test_nothing_stays_when_loading_fails(tmp_path):
    (tmp_path / "blob").write_text("one")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(RuntimeError), linked_folder({"a": str(tmp_path / "blob")}, str(scratch)):
        raise RuntimeError
    assert list(scratch.iterdir()) == []
