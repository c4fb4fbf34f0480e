"""Only plain files below the wanted folder leave an archive, under names that stay inside."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from dimora.core.errors import SourceFailed
from dimora.models.toolchain.source_archives import unpack

FOLDER = "thing-1.0/vendor/code"


def archive_of(path: Path, *members: tuple[str, bytes] | tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            name, data = member
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


def unpack_parts(archive: Path, target: Path, limit_bytes: int = 1000) -> int:
    return unpack(archive, target, folder=FOLDER, parts=("src", "LICENSE"), limit_bytes=limit_bytes)


def test_wanted_parts_come_out_and_nothing_else(tmp_path: Path):
    archive = archive_of(
        tmp_path / "a.tar.gz",
        ("thing-1.0/setup.py", b"never"),
        (f"{FOLDER}/LICENSE", b"words"),
        special(f"{FOLDER}/src", tarfile.DIRTYPE),
        (f"{FOLDER}/src/deep/a.c", b"code"),
        (f"{FOLDER}/tests/b.c", b"never"),
        special(f"{FOLDER}/tests/link", tarfile.SYMTYPE, "/etc/passwd"),
        ("../outside", b"never"),
    )
    assert unpack_parts(archive, tmp_path / "out") == 2
    found = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*")}
    assert found == {"LICENSE", "src", "src/deep", "src/deep/a.c"}
    assert (tmp_path / "out/src/deep/a.c").read_bytes() == b"code"


@pytest.mark.parametrize(
    "member",
    [
        special(f"{FOLDER}/src/link", tarfile.SYMTYPE, "/etc/passwd"),
        special(f"{FOLDER}/src/hard", tarfile.LNKTYPE, f"{FOLDER}/LICENSE"),
        special(f"{FOLDER}/src/pipe", tarfile.FIFOTYPE),
        special(f"{FOLDER}/src/device", tarfile.CHRTYPE),
        (f"{FOLDER}/src/../../../../escaped", b"x"),
        (f"{FOLDER}/src/a\\..\\b", b"x"),
        (f"{FOLDER}/src/c:x", b"x"),
        (f"{FOLDER}/src/" + "long" * 100, b"x"),
    ],
)
def test_links_devices_and_names_that_lead_elsewhere_are_refused(tmp_path: Path, member):
    archive = archive_of(tmp_path / "a.tar.gz", member)
    with pytest.raises(SourceFailed, match="the archive has"):
        unpack_parts(archive, tmp_path / "out")
    assert not (tmp_path / "escaped").exists()
    assert [p for p in (tmp_path / "out").rglob("*") if p.is_file()] == []


def test_more_bytes_than_there_should_be_are_not_written(tmp_path: Path):
    archive = archive_of(tmp_path / "a.tar.gz", (f"{FOLDER}/src/zeros", bytes(10**6)))
    with pytest.raises(SourceFailed, match="larger"):
        unpack_parts(archive, tmp_path / "out")
    assert list((tmp_path / "out").rglob("zeros")) == []


def test_a_file_that_is_there_twice_is_refused(tmp_path: Path):
    twice = (f"{FOLDER}/LICENSE", b"x")
    with pytest.raises(SourceFailed, match="twice"):
        unpack_parts(archive_of(tmp_path / "a.tar.gz", twice, twice), tmp_path / "out")


def test_a_truncated_archive_is_an_error_of_the_source(tmp_path: Path):
    whole = archive_of(tmp_path / "a.tar.gz", (f"{FOLDER}/LICENSE", os.urandom(5000))).read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceFailed, match="damaged"):
        unpack_parts(tmp_path / "a.tar.gz", tmp_path / "out", limit_bytes=10**6)
