"""What neighbours may read, and what they may not even guess."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dimora.core.errors import BadRequest, InvalidModel, NotFound
from dimora.models.store import ModelStore
from tests.unit.models.making import OllamaStore, digest_of

HOST = "registry.ollama.ai"


@pytest.fixture
def made(tmp_path: Path) -> OllamaStore:
    made = OllamaStore(tmp_path)
    made.model((HOST, "library", "tiny", "latest"), [("model", b"weights"), ("system", b"hi")])
    made.model((HOST, "library", "tiny", "Big"), [("model", b"more weights")])
    made.model((HOST, "anna", "Tiny", "v1"), [("model", b"anna's weights")])
    made.model(("other.example:5000", "team", "tiny", "v2"), [("model", b"team's weights")])
    return made


@pytest.fixture
def sharing(made: OllamaStore):
    return ModelStore(made.root).sharing()


def manifest_bytes(made: OllamaStore, *parts: str) -> bytes:
    return made.root.joinpath("manifests", *parts).read_bytes()


@pytest.mark.parametrize(
    ("repository", "tags"),
    [
        ("library/tiny", ["Big", "latest"]),
        ("tiny", ["Big", "latest"]),
        ("registry.ollama.ai/library/tiny", ["Big", "latest"]),
        ("LIBRARY/Tiny", ["Big", "latest"]),
        ("anna/tiny", ["v1"]),
        ("other.example:5000/team/tiny", ["v2"]),
    ],
)
def test_a_repository_is_a_name_without_its_tag_in_any_case(sharing, repository, tags):
    assert sharing.tags(repository) == tags


@pytest.mark.parametrize(
    "repository",
    [
        "",
        "/",
        "nobody/tiny",
        "library/tin",
        "library/tiny:latest",
        "library/tiny/",
        "../library/tiny",
        "library/../library/tiny",
        "a/b/c/d",
        "library/tiny\x00",
        "x" * 1000,
        "team/tiny",
    ],
)
def test_what_is_no_repository_here_is_not_found(sharing, repository):
    for ask in (
        lambda: sharing.tags(repository),
        lambda: sharing.manifest(repository, "latest"),
        lambda: sharing.blob(repository, digest_of(b"weights")),
    ):
        with pytest.raises(NotFound) as caught:
            ask()
        assert caught.value.code == "repository_not_found"


def test_a_manifest_is_given_byte_by_byte_by_tag_and_by_digest(sharing, made):
    data = manifest_bytes(made, HOST, "library", "tiny", "latest")
    by_tag = sharing.manifest("library/tiny", "LATEST")
    assert by_tag.data == data
    assert by_tag.digest == digest_of(data)
    assert by_tag.media_type == json.loads(data)["mediaType"]
    assert sharing.manifest("library/tiny", by_tag.digest) == by_tag


def test_a_manifest_of_another_repository_is_not_found(sharing, made):
    digest = digest_of(manifest_bytes(made, HOST, "anna", "Tiny", "v1"))
    assert sharing.manifest("anna/tiny", digest).name == "anna/Tiny:v1"
    for reference in (digest, "v1", "", "..", "a/b"):
        with pytest.raises(NotFound) as caught:
            sharing.manifest("library/tiny", reference)
        assert caught.value.code == "manifest_not_found"


@pytest.mark.parametrize("digest", ["sha256:", "sha256:" + "A" * 64, "sha512:" + "a" * 128, ":"])
def test_what_is_no_digest_is_refused(sharing, digest):
    with pytest.raises(BadRequest):
        sharing.manifest("library/tiny", digest)
    with pytest.raises(BadRequest):
        sharing.blob("library/tiny", digest)


def test_every_blob_a_manifest_needs_is_given(sharing, made):
    manifest = json.loads(manifest_bytes(made, HOST, "library", "tiny", "latest"))
    for layer in (manifest["config"], *manifest["layers"]):
        blob = sharing.blob("library/tiny", layer["digest"])
        data = blob.read(0, blob.size_bytes)
        blob.close()
        assert digest_of(data) == layer["digest"]


def test_a_blob_no_manifest_of_the_repository_needs_cannot_be_told_from_one_that_is_not_there(
    sharing, made
):
    kept = made.blob(b"an upload of somebody else")["digest"]
    told = set()
    for digest in (kept, digest_of(b"never seen"), digest_of(b"anna's weights")):
        with pytest.raises(NotFound) as caught:
            sharing.blob("library/tiny", digest)
        told.add((caught.value.text, caught.value.code))
    assert len(told) == 1


def test_a_blob_of_another_size_than_the_manifest_says_is_not_given(sharing, made):
    digest = digest_of(b"weights")
    path = made.root / "blobs" / digest.replace(":", "-")
    path.write_bytes(b"weight")
    with pytest.raises(NotFound):
        sharing.blob("library/tiny", digest)
    path.unlink()
    with pytest.raises(NotFound):
        sharing.blob("library/tiny", digest)


def test_a_blob_that_is_open_can_be_read_after_it_was_removed(sharing, made):
    blob = sharing.blob("library/tiny", digest_of(b"weights"))
    (made.root / "blobs" / digest_of(b"weights").replace(":", "-")).unlink()
    assert (blob.read(0, 3), blob.read(5, 100), blob.read(7, 1)) == (b"wei", b"ts", b"")
    blob.close()


def test_a_damaged_manifest_hides_no_other_of_its_repository(sharing, made):
    made.root.joinpath("manifests", HOST, "library", "tiny", "Big").write_bytes(b"{")
    assert sharing.tags("library/tiny") == ["Big", "latest"]
    with pytest.raises(InvalidModel):
        sharing.manifest("library/tiny", "big")
    good = sharing.manifest("library/tiny", "latest")
    assert sharing.manifest("library/tiny", good.digest) == good
    sharing.blob("library/tiny", digest_of(b"weights")).close()
