"""Bundles: models in one signed file, out of one store and into another."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dimora.core.errors import (
    BadRequest,
    Conflict,
    InvalidModel,
    NotFound,
)
from dimora.core.types import Progress
from dimora.models.bundles.keys import public_text
from dimora.models.store import ModelStore
from tests.unit.models.bundles.bundling import (
    LIBRARY,
    export,
    files_in,
    flip,
    take_in,
    trusting,
)
from tests.unit.models.making import OllamaStore, digest_of


def test_models_come_out_of_a_bundle_as_they_went_in(
    ours: ModelStore, bundle: Path, tmp_path: Path
) -> None:
    other = trusting(ours, tmp_path / "theirs")
    assert take_in(other, bundle) == {
        "tiny:latest": "new",
        "registry.example:5000/me/other:q4": "new",
    }
    assert [f for f in files_in(other) if f != ".dimora.lock"] == files_in(ours)
    for name in files_in(ours):
        assert (other.root / name).read_bytes() == (ours.root / name).read_bytes()
    assert {row.digest for row in other.all()} == {row.digest for row in ours.all()}
    assert other.find("registry.example:5000/me/other:q4").documents == ("notes/a.txt",)
    assert other.verified_files(other.find("tiny")).weights


def test_the_same_models_and_key_make_the_same_bytes(
    ours: ModelStore, bundle: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    names = ["registry.example:5000/me/OTHER:q4", "tiny:latest", "TINY", "library/tiny"]
    export(ours, names, again)
    assert again.read_bytes() == bundle.read_bytes()


def test_a_bundle_is_an_oci_layout_in_a_tar_file_that_other_programs_read(
    bundle: Path, weights: bytes
) -> None:
    with tarfile.open(bundle) as archive:
        members = {m.name: m for m in archive.getmembers()}
        assert all(m.isreg() and m.mtime == 0 and m.uid == 0 for m in members.values())
        read = {name: archive.extractfile(m).read() for name, m in members.items()}  # type: ignore[union-attr]
    assert json.loads(read["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads(read["index.json"])
    assert index["schemaVersion"] == 2
    names = [m["annotations"]["org.opencontainers.image.ref.name"] for m in index["manifests"]]
    assert names == ["registry.example:5000/me/other:q4", "registry.ollama.ai/library/tiny:latest"]
    blobs = {name: data for name, data in read.items() if name.startswith("blobs/")}
    for name, data in blobs.items():
        assert name == f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"
    assert blobs[f"blobs/sha256/{digest_of(weights)[7:]}"] == weights
    told = set()
    for row in index["manifests"]:
        manifest = json.loads(blobs[f"blobs/sha256/{row['digest'][7:]}"])
        told |= {row["digest"], manifest["config"]["digest"]}
        told |= {layer["digest"] for layer in manifest["layers"]}
    assert {f"blobs/sha256/{digest[7:]}" for digest in told} == set(blobs)


def test_the_signature_is_ed25519_over_the_bytes_of_the_index(
    ours: ModelStore, bundle: Path
) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    with tarfile.open(bundle) as archive:
        index = archive.extractfile("index.json").read()  # type: ignore[union-attr]
        told = json.loads(archive.extractfile("dimora-signature.json").read())  # type: ignore[union-attr]
    path = ours.root.parent / "keys" / "bundle-ed25519"
    key = load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    key.public_key().verify(base64.b64decode(told["signature"]), index)
    assert told["public_key"] == public_text(key.public_key().public_bytes_raw())
    assert told["key_id"].replace("-", "") == (
        hashlib.sha256(key.public_key().public_bytes_raw()).hexdigest()
    )
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_bundle_tells_what_is_in_it_and_what_is_here(
    ours: ModelStore, theirs: ModelStore, bundle: Path
) -> None:
    told = theirs.tell_bundle(bundle)
    assert [(m.name, m.state) for m in told.models] == [
        ("registry.example:5000/me/other:q4", "new"),
        ("tiny:latest", "new"),
    ]
    assert told.fingerprint == ours.bundle_key().fingerprint
    assert not told.trusted
    here = ours.tell_bundle(bundle)
    assert here.trusted
    assert {m.state for m in here.models} == {"here"}
    by_name = {row.name: row for row in ours.all()}
    assert all(by_name[m.name].digest == m.digest for m in here.models)
    assert all(by_name[m.name].size_bytes == m.size_bytes for m in here.models)
    ours.copy("registry.example:5000/me/other:q4", "tiny")
    assert [m.state for m in ours.tell_bundle(bundle).models] == ["here", "other"]


def test_an_import_again_changes_nothing_and_reads_no_blob(
    ours: ModelStore, bundle: Path, tmp_path: Path
) -> None:
    other = trusting(ours, tmp_path / "theirs")
    take_in(other, bundle)
    before = {name: (other.root / name).stat().st_mtime_ns for name in files_in(other)}
    manifests = {name: when for name, when in before.items() if name.startswith("manifests")}
    inodes = {name: (other.root / name).stat().st_ino for name in files_in(other)}
    assert set(take_in(other, bundle).values()) == {"here"}
    assert inodes == {name: (other.root / name).stat().st_ino for name in files_in(other)}
    assert all((other.root / n).stat().st_mtime_ns == when for n, when in manifests.items())


def test_an_import_mends_a_blob_that_is_damaged_here(
    ours: ModelStore, bundle: Path, tmp_path: Path, weights: bytes
) -> None:
    other = trusting(ours, tmp_path / "theirs")
    take_in(other, bundle)
    path = other.blobs.path(digest_of(weights))
    path.write_bytes(bytes(len(weights)))
    take_in(other, bundle)
    assert path.read_bytes() == weights


def test_another_model_of_that_name_is_replaced_only_if_that_is_said(
    ours: ModelStore, bundle: Path, tmp_path: Path, weights: bytes
) -> None:
    other = trusting(ours, tmp_path / "theirs")
    OllamaStore(other.root).model(
        (*LIBRARY, "Tiny", "latest"), [("model", weights), ("system", b"Be brief.")]
    )
    before = files_in(other)
    with pytest.raises(Conflict, match="Tiny:latest") as refused:
        take_in(other, bundle)
    assert "--replace" in refused.value.hint
    assert [f for f in files_in(other) if f != ".dimora.lock"] == before
    assert take_in(other, bundle, replace=True)["Tiny:latest"] == "other"
    assert other.find("tiny").system == "Be kind."
    assert other.find("tiny").name == "Tiny:latest"
    assert not other.blobs.path(digest_of(b"Be brief.")).exists(), "what nobody needs is gone"


def test_a_damaged_model_makes_no_bundle(ours: ModelStore, tmp_path: Path, weights: bytes) -> None:
    path = ours.blobs.path(digest_of(weights))
    target = tmp_path / "new"
    for data in (flip(weights, 700), weights[:-1], weights + b"x", None):
        if data is None:
            path.unlink()
        else:
            path.write_bytes(data)
        with pytest.raises(InvalidModel, match=digest_of(weights)):
            export(ours, ["tiny"], target)
        assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == [
            "adapter.gguf",
            "tiny.gguf",
        ]


def test_what_cannot_be_exported_is_said_before_anything_is_written(
    ours: ModelStore, tmp_path: Path
) -> None:
    OllamaStore(ours.root).model((*LIBRARY, "cloud", "latest"), [])
    with pytest.raises(NotFound, match="nobody"):
        export(ours, ["tiny", "nobody"], tmp_path / "b")
    with pytest.raises(BadRequest, match="invalid"):
        export(ours, ["../tiny"], tmp_path / "b")
    with pytest.raises(InvalidModel, match="no model file"):
        export(ours, ["cloud"], tmp_path / "b")
    with pytest.raises(BadRequest, match="directory"):
        export(ours, ["tiny"], tmp_path / "no" / "b")
    with pytest.raises(BadRequest, match="not a plain file"):
        export(ours, ["tiny"], tmp_path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(BadRequest, match="not a plain file"):
        export(ours, ["tiny"], pipe, replace=True)
    assert pipe.is_fifo()
    assert not (tmp_path / "b").exists()


def test_a_file_that_is_there_is_not_written_over_unless_that_is_said(
    ours: ModelStore, tmp_path: Path
) -> None:
    path = tmp_path / "letters.txt"
    path.write_text("dear")
    with pytest.raises(Conflict, match=r"letters\.txt"):
        export(ours, ["tiny"], path)
    assert path.read_text() == "dear"
    export(ours, ["tiny"], path, replace=True)
    assert tarfile.is_tarfile(io.BytesIO(path.read_bytes()))


def test_a_model_that_gets_another_template_is_told(
    ours: ModelStore, tmp_path: Path, weights: bytes
) -> None:
    written = OllamaStore(ours.root)
    written.model(
        (*LIBRARY, "tiny", "latest"), [("model", weights), ("template", b"{{ .Prompt }}")]
    )
    path = tmp_path / "new.bundle"
    export(ours, ["tiny"], path)
    other = trusting(ours, tmp_path / "theirs")
    model = [("model", weights), ("template", b"Obey! {{ .Prompt }}")]
    OllamaStore(other.root).model((*LIBRARY, "Tiny", "latest"), model)

    async def run() -> list[str]:
        steps = other.import_bundle(path, replace=True)
        return [step.status async for step in steps if isinstance(step, Progress)]

    changed = ["the template of Tiny:latest changed", "- Obey! {{ .Prompt }}", "+ {{ .Prompt }}"]
    told = asyncio.run(run())
    assert told[-4:] == [*changed, "success"]
    assert asyncio.run(run())[-2:] == ["writing manifests", "success"], "the same is no change"
