"""Bundles: models in one signed file, out of one store and into another."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dimora.core.errors import (
    BadRequest,
    Conflict,
    DimoraError,
    Forbidden,
    InvalidModel,
    NotFound,
    StorageFull,
)
from dimora.core.types import Progress
from dimora.models.bundles import reading as bundle_import
from dimora.models.bundles.keys import public_text
from dimora.models.store import ModelStore
from dimora.tasks.keeping import BundledModel
from tests.conftest import LONG
from tests.unit.models.making import OllamaStore, digest_of, tiny_adapter, tiny_gguf

LIBRARY = ("registry.ollama.ai", "library")
HOST = ("registry.example:5000", "me", "other", "q4")


@pytest.fixture
def weights(tmp_path: Path) -> bytes:
    return tiny_gguf(tmp_path / "tiny.gguf").read_bytes()


@pytest.fixture
def ours(tmp_path: Path, weights: bytes) -> ModelStore:
    """Two models that share their weights; one has an adapter and a document."""
    adapter = tiny_adapter(tmp_path / "adapter.gguf").read_bytes()
    written = OllamaStore(tmp_path / "ours" / "models")
    written.model((*LIBRARY, "tiny", "latest"), [("model", weights), ("system", b"Be kind.")])
    path = written.model(HOST, [("model", weights), ("adapter", adapter)])
    manifest = json.loads(path.read_text())
    document = {"mediaType": "application/vnd.dimora.image.document", "name": "notes/a.txt"}
    manifest["layers"].append(document | written.blob(b"Remember the milk."))
    path.write_text(json.dumps(manifest))
    return store_at(tmp_path / "ours")


@pytest.fixture
def theirs(tmp_path: Path) -> ModelStore:
    return store_at(tmp_path / "theirs")


@pytest.fixture
def bundle(ours: ModelStore, tmp_path: Path) -> Path:
    path = tmp_path / "models.bundle"
    export(ours, ["tiny", "registry.example:5000/me/other:q4"], path)
    return path


def store_at(home: Path, *trusted: str) -> ModelStore:
    return ModelStore(
        home / "models", cache_path=home / "cache", keys_path=home / "keys", trusted_keys=trusted
    )


def export(store: ModelStore, names: list[str], path: Path, **more: Any) -> list[Progress]:
    async def run() -> list[Progress]:
        return [step async for step in store.export_bundle(names, path, **more)]

    return asyncio.run(run())


def take_in(store: ModelStore, path: Path, **more: Any) -> dict[str, str]:
    """Import a bundle; gives what each model was before."""

    async def run() -> list[Any]:
        return [step async for step in store.import_bundle(path, **more)]

    return {step.name: step.state for step in asyncio.run(run()) if isinstance(step, BundledModel)}


def trusting(ours: ModelStore, home: Path) -> ModelStore:
    return store_at(home, ours.bundle_key().public_key)


def files_in(store: ModelStore) -> list[str]:
    return sorted(str(p.relative_to(store.root)) for p in store.root.rglob("*") if p.is_file())


def assert_untouched(store: ModelStore) -> None:
    """No model, and not one file of a model."""
    assert [f for f in files_in(store) if f != ".dimora.lock"] == []


# ---- a bundle as it should be


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


# ---- what is here already


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


# ---- who signed


def test_a_signer_nobody_named_is_refused_with_the_fingerprint(
    ours: ModelStore, theirs: ModelStore, bundle: Path
) -> None:
    with pytest.raises(Forbidden) as refused:
        take_in(theirs, bundle)
    told = ours.bundle_key().fingerprint
    assert told in refused.value.message
    assert f"--trust {told}" in refused.value.hint
    assert refused.value.code == "unknown_signer"
    assert_untouched(theirs)


def test_trust_holds_for_one_import_unless_it_is_remembered(
    ours: ModelStore, theirs: ModelStore, bundle: Path
) -> None:
    told = ours.bundle_key().fingerprint
    written = f"SHA256:{told.replace('-', ' ').upper()}"
    assert take_in(theirs, bundle, trust=written)
    with pytest.raises(Forbidden):
        take_in(theirs, bundle)
    assert take_in(theirs, bundle, trust=told, remember=True)
    assert take_in(theirs, bundle)
    assert theirs.tell_bundle(bundle).trusted


@pytest.mark.parametrize("cut", [0, 1, 8, 35, 63])
def test_a_fingerprint_that_is_not_all_of_it_trusts_nobody(
    ours: ModelStore, theirs: ModelStore, bundle: Path, cut: int
) -> None:
    told = ours.bundle_key().fingerprint.replace("-", "")
    with pytest.raises(Forbidden):
        take_in(theirs, bundle, trust=told[:cut] or "-", remember=True)
    with pytest.raises(Forbidden):
        take_in(theirs, bundle)


def test_whoever_names_a_signer_gets_no_other_one_even_a_trusted_one(
    ours: ModelStore, bundle: Path, tmp_path: Path
) -> None:
    other = trusting(ours, tmp_path / "theirs")
    with pytest.raises(Forbidden, match="another key than you named"):
        take_in(other, bundle, trust="0" * 64)
    with pytest.raises(BadRequest, match="by name"):
        take_in(other, bundle, remember=True)


@pytest.mark.parametrize("form", ["line", "file", "pem", "relative"])
def test_keys_are_trusted_by_the_settings(
    ours: ModelStore, bundle: Path, tmp_path: Path, form: str
) -> None:
    key = ours.bundle_key().public_key
    home = tmp_path / "theirs"
    home.mkdir()
    (home / "friends").write_text(f"# the office in Trento\n\n{key} office\n")
    pem = tmp_path / "ours" / "public.pem"
    private = tmp_path / "ours" / "keys" / "bundle-ed25519"
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", pem], check=True)
    told = {
        "line": key,
        "file": str(home / "friends"),
        "pem": str(pem),
        "relative": "friends",
    }
    assert take_in(store_at(home, told[form]), bundle)


@pytest.mark.parametrize("text", ["ed25519:AAAA", "no-such-file", "ed25519:***", "wrong"])
def test_a_setting_that_is_no_key_is_told_by_its_name(
    theirs: ModelStore, bundle: Path, text: str
) -> None:
    theirs.root.parent.mkdir(exist_ok=True)
    (theirs.root.parent / "wrong").write_text("ssh-rsa AAAA\n")
    store = store_at(theirs.root.parent, text)
    with pytest.raises(DimoraError, match="trusted_keys") as refused:
        take_in(store, bundle)
    assert refused.value.code == "configuration_error"


def test_a_key_that_others_can_read_signs_nothing(ours: ModelStore, tmp_path: Path) -> None:
    ours.bundle_key()
    path = ours.root.parent / "keys" / "bundle-ed25519"
    path.chmod(0o644)
    with pytest.raises(DimoraError, match="read by others"):
        export(ours, ["tiny"], tmp_path / "b")
    path.chmod(0o600)
    path.write_text("not a key")
    with pytest.raises(DimoraError, match="no Ed25519 key"):
        export(ours, ["tiny"], tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_two_processes_that_need_the_key_first_get_the_same(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from dimora.models.store import ModelStore;"
        "print(ModelStore(Path(sys.argv[1]) / 'models').bundle_key().public_key)"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    assert len({process.communicate(timeout=60)[0] for process in started}) == 1


# ---- bundles that are not as they should be


class Forgery:
    """A bundle taken apart, to be put together otherwise; signed again if that is asked for."""

    def __init__(self, bundle: Path, key: Path) -> None:
        with tarfile.open(bundle) as archive:
            self.members = [
                (member, archive.extractfile(member).read())  # type: ignore[union-attr]
                for member in archive.getmembers()
            ]
        self._key = key

    def data(self, name: str) -> bytes:
        return next(data for member, data in self.members if member.name == name)

    def put(self, name: str, data: bytes) -> None:
        for at, (member, _) in enumerate(self.members):
            if member.name == name:
                member.size = len(data)
                self.members[at] = (member, data)
                return
        self.add(name, data)

    def add(self, name: str, data: bytes = b"", **fields: Any) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        for field, value in fields.items():
            setattr(member, field, value)
        self.members.append((member, data))

    def drop(self, name: str) -> None:
        self.members = [row for row in self.members if row[0].name != name]

    def sign(self) -> None:
        """With the house's own key: the worst a trusted signer could do."""
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        key = load_pem_private_key(self._key.read_bytes(), None)
        assert isinstance(key, Ed25519PrivateKey)
        public = key.public_key().public_bytes_raw()
        digits = hashlib.sha256(public).hexdigest()
        told = {
            "algorithm": "ed25519",
            "public_key": public_text(public),
            "key_id": "-".join(digits[at : at + 8] for at in range(0, 64, 8)),
            "signature": base64.b64encode(key.sign(self.data("index.json"))).decode(),
        }
        self.put("dimora-signature.json", json.dumps(told).encode())

    def change_index(self, change: Callable[[Any], None]) -> None:
        index = json.loads(self.data("index.json"))
        change(index)
        self.put("index.json", json.dumps(index).encode())
        self.sign()

    def change_manifest(self, change: Callable[[Any], None]) -> None:
        """Of the first model; the index is made to fit and signed."""
        row = json.loads(self.data("index.json"))["manifests"][0]
        name = f"blobs/sha256/{row['digest'][7:]}"
        manifest = json.loads(self.data(name))
        change(manifest)
        data = json.dumps(manifest).encode()
        at = next(i for i, (member, _) in enumerate(self.members) if member.name == name)
        member = tarfile.TarInfo(f"blobs/sha256/{hashlib.sha256(data).hexdigest()}")
        member.size = len(data)
        self.members[at] = (member, data)

        def fit(index: Any) -> None:
            index["manifests"][0] |= {"digest": digest_of(data), "size": len(data)}

        self.change_index(fit)

    def write(self, path: Path) -> Path:
        with path.open("wb") as file:
            for member, data in self.members:
                file.write(member.tobuf(tarfile.GNU_FORMAT))
                file.write(data + bytes(-len(data) % 512))
            file.write(bytes(1024))
        return path


@pytest.fixture
def forgery(ours: ModelStore, bundle: Path) -> Forgery:
    return Forgery(bundle, ours.root.parent / "keys" / "bundle-ed25519")


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_a_bundle_put_together_again_as_it_was_is_taken(
    forgery: Forgery, ours: ModelStore, bundle: Path, tmp_path: Path
) -> None:
    """So that the refusals below are for what was changed, and nothing else."""
    assert forgery.write(tmp_path / "again").read_bytes() == bundle.read_bytes()
    forgery.change_manifest(lambda manifest: None)
    forged = forgery.write(tmp_path / "again")
    assert take_in(trusting(ours, tmp_path / "theirs"), forged)


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("name", ["index.json", "dimora-signature.json"])
def test_no_word_makes_a_wrong_signature_right(
    forgery: Forgery, ours: ModelStore, tmp_path: Path, name: str, trust: bool
) -> None:
    data = forgery.data(name)
    at = data.index(b"latest") if name == "index.json" else data.index(b'"signature":"') + 20
    forgery.put(name, data[:at] + (b"L" if data[at : at + 1] != b"L" else b"M") + data[at + 1 :])
    other = trusting(ours, tmp_path / "theirs")
    more = {"trust": ours.bundle_key().fingerprint, "remember": True} if trust else {}
    with pytest.raises(InvalidModel) as refused:
        take_in(other, forgery.write(tmp_path / "forged"), replace=True, **more)
    assert refused.value.code == "bad_signature"
    assert_untouched(other)


def _unsigned(forgery: Forgery) -> None:
    forgery.drop("dimora-signature.json")


def _signed_by_nobody(forgery: Forgery) -> None:
    told = json.loads(forgery.data("dimora-signature.json"))
    forgery.put("dimora-signature.json", json.dumps(told | {"signature": ""}).encode())


def _other_algorithm(forgery: Forgery) -> None:
    told = json.loads(forgery.data("dimora-signature.json"))
    forgery.put("dimora-signature.json", json.dumps(told | {"algorithm": "none"}).encode())


def _other_key_id(forgery: Forgery) -> None:
    told = json.loads(forgery.data("dimora-signature.json"))
    forgery.put("dimora-signature.json", json.dumps(told | {"key_id": "0" * 64}).encode())


def _more_in_the_signature(forgery: Forgery) -> None:
    told = json.loads(forgery.data("dimora-signature.json"))
    forgery.put("dimora-signature.json", json.dumps(told | {"also": 1}).encode())


def _altered_blob(forgery: Forgery) -> None:
    member, data = forgery.members[-1]
    forgery.members[-1] = (member, _flip(data, len(data) // 2))


def _altered_manifest(forgery: Forgery) -> None:
    member, data = forgery.members[3]
    forgery.members[3] = (member, data.replace(b"amd64", b"arm64").replace(b"size", b"sizf", 1))


def _missing_blob(forgery: Forgery) -> None:
    forgery.members.pop()


def _unneeded_blob(forgery: Forgery) -> None:
    forgery.add(f"blobs/sha256/{hashlib.sha256(b'x').hexdigest()}", b"x")


def _twice(forgery: Forgery) -> None:
    forgery.members.append(forgery.members[-1])


def _other_order(forgery: Forgery) -> None:
    forgery.members[-1], forgery.members[-2] = forgery.members[-2], forgery.members[-1]


def _link(forgery: Forgery) -> None:
    member, _ = forgery.members[-1]
    member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/passwd", 0
    forgery.members[-1] = (member, b"")


def _hard_link(forgery: Forgery) -> None:
    member, _ = forgery.members[-1]
    member.type, member.linkname = tarfile.LNKTYPE, forgery.members[-2][0].name
    member.size, forgery.members[-1] = 0, (member, b"")


def _device(forgery: Forgery) -> None:
    forgery.add("blobs/sha256/zero", type=tarfile.CHRTYPE, devmajor=1, devminor=5)


def _directory(forgery: Forgery) -> None:
    forgery.add("blobs", type=tarfile.DIRTYPE)


def _absolute(forgery: Forgery) -> None:
    forgery.members[-1][0].name = "/" + forgery.members[-1][0].name


def _upwards(forgery: Forgery) -> None:
    forgery.members[-1][0].name = "blobs/sha256/../../../../evil"


def _with_an_owner(forgery: Forgery) -> None:
    forgery.members[-1][0].uname = "root"
    forgery.members[-1][0].mode = 0o4755


def _goes_on(forgery: Forgery) -> None:
    forgery.add("evil.sh", b"#!/bin/sh\n")


def _name_upwards(forgery: Forgery) -> None:
    _rename(forgery, "registry.ollama.ai/library/../../evil:latest")


def _name_short(forgery: Forgery) -> None:
    _rename(forgery, "zzz")


def _name_none(forgery: Forgery) -> None:
    forgery.change_index(lambda index: index["manifests"][1].pop("annotations"))


def _rename(forgery: Forgery, name: str) -> None:
    def change(index: Any) -> None:
        index["manifests"][1]["annotations"]["org.opencontainers.image.ref.name"] = name

    forgery.change_index(change)


def _same_name_twice(forgery: Forgery) -> None:
    _rename(forgery, "registry.example:5000/me/other:q4")


def _same_name_in_another_case(forgery: Forgery) -> None:
    _rename(forgery, "registry.example:5000/me/otheR:q4")


def _nothing(forgery: Forgery) -> None:
    forgery.members = forgery.members[:3]
    forgery.change_index(lambda index: index.update(manifests=[]))


def _newer_form(forgery: Forgery) -> None:
    forgery.change_index(lambda index: index["annotations"].update({"dimora.bundle": "2"}))


def _index_with_more(forgery: Forgery) -> None:
    forgery.change_index(lambda index: index.update(subject={"digest": "sha256:0"}))


def _index_that_is_no_json(forgery: Forgery) -> None:
    forgery.put("index.json", b"[" * 100_000)
    forgery.sign()


def _digest_upwards(forgery: Forgery) -> None:
    forgery.change_index(lambda i: i["manifests"][0].update(digest="sha256:../../../../evil"))


def _layer_digest_upwards(forgery: Forgery) -> None:
    forgery.change_manifest(lambda m: m["layers"][0].update(digest="sha256:../../evil"))


def _container_image(forgery: Forgery) -> None:
    kind = "application/vnd.oci.image.layer.v1.tar+gzip"
    forgery.change_manifest(lambda m: m["layers"][0].update(mediaType=kind))


def _no_weights(forgery: Forgery) -> None:
    kind = "application/vnd.ollama.image.system"
    forgery.change_manifest(lambda m: m["layers"][0].update(mediaType=kind))


def _other_schema(forgery: Forgery) -> None:
    forgery.change_manifest(lambda manifest: manifest.update(schemaVersion=1))


def _size_beyond_the_file(forgery: Forgery) -> None:
    forgery.change_manifest(lambda manifest: manifest["layers"][0].update(size=1 << 45))


def _huge_text(forgery: Forgery) -> None:
    kind = "application/vnd.ollama.image.license"
    forgery.change_manifest(
        lambda m: m["layers"].append(
            {"mediaType": kind, "digest": digest_of(b"z"), "size": 17 << 20}
        )
    )


def _document_upwards(forgery: Forgery) -> None:
    forgery.change_manifest(lambda manifest: manifest["layers"][-1].update(name="../../evil"))


def _negative_size(forgery: Forgery) -> None:
    forgery.change_manifest(lambda manifest: manifest["layers"][0].update(size=-1))


def _weights_that_are_none(forgery: Forgery) -> None:
    """Signed and bound by digest, and still no GGUF."""
    data = b"PK\x03\x04 a zip archive"

    def change(manifest: Any) -> None:
        row = next(x for x in manifest["layers"] if x["mediaType"].endswith("adapter"))
        forgery.drop(f"blobs/sha256/{row['digest'][7:]}")
        row.update(digest=digest_of(data), size=len(data))

    forgery.change_manifest(change)
    forgery.add(f"blobs/sha256/{digest_of(data)[7:]}", data)
    forgery.members[5:] = sorted(forgery.members[5:], key=lambda row: row[0].name)


FORGERIES = [value for name, value in list(globals().items()) if name.startswith("_")]
FORGERIES = [
    value
    for value in FORGERIES
    if callable(value) and getattr(value, "__annotations__", {}).get("forgery") == "Forgery"
    and value is not _rename
]  # fmt: skip


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda f: f.__name__.strip("_"))
def test_a_forged_bundle_is_refused_and_leaves_nothing(
    forgery: Forgery, ours: ModelStore, tmp_path: Path, forge: Callable[[Forgery], None]
) -> None:
    forge(forgery)
    forged = forgery.write(tmp_path / "forged")
    other = trusting(ours, tmp_path / "theirs")
    with pytest.raises(InvalidModel) as refused:
        take_in(other, forged)
    assert str(tmp_path) not in refused.value.text
    assert_untouched(other)
    assert not list(tmp_path.rglob("*evil*"))


def test_there_are_many_forgeries() -> None:
    assert len(FORGERIES) > 35


def test_a_bundle_cut_off_or_altered_anywhere_is_refused_and_leaves_nothing(
    ours: ModelStore, bundle: Path, tmp_path: Path
) -> None:
    whole = bundle.read_bytes()
    other = trusting(ours, tmp_path / "theirs")
    step = 1 if LONG else len(whole) // 40 - 7
    for at in range(0, len(whole), step):
        for damaged in (whole[:at], _flip(whole, at)):
            bundle.write_bytes(damaged)
            with pytest.raises(DimoraError):
                take_in(other, bundle)
            assert_untouched(other)
    bundle.write_bytes(whole + bytes(512))
    with pytest.raises(InvalidModel):
        take_in(other, bundle)
    assert_untouched(other)


@pytest.mark.parametrize("kind", ["missing", "directory", "pipe", "device", "empty"])
def test_what_is_no_file_is_refused_without_waiting(
    theirs: ModelStore, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "thing"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "empty":
        path.touch()
    elif kind == "device":
        path = Path("/dev/zero")
    with pytest.raises(NotFound if kind == "missing" else InvalidModel):
        take_in(theirs, path)


# ---- large ones, and ones that stop half-way


def test_neither_way_holds_more_than_some_megabytes_in_memory(tmp_path: Path) -> None:
    """A document of 96 MB, as no model of the tests is that large."""
    written = OllamaStore(tmp_path / "ours" / "models")
    weights = tiny_gguf(tmp_path / "tiny.gguf").read_bytes()
    path = written.model((*LIBRARY, "big", "latest"), [("model", weights)])
    manifest = json.loads(path.read_text())
    document = {"mediaType": "application/vnd.dimora.image.document", "name": "a"}
    manifest["layers"].append(document | written.blob(os.urandom(1 << 20) * 96))
    path.write_text(json.dumps(manifest))
    ours, bundle = store_at(tmp_path / "ours"), tmp_path / "big"
    # Once before, so that what is imported does not count.
    written.model((*LIBRARY, "small", "latest"), [("model", weights)])
    export(ours, ["small"], tmp_path / "small")
    take_in(trusting(ours, tmp_path / "theirs"), tmp_path / "small")
    tracemalloc.start()
    steps = export(ours, ["big"], bundle)
    take_in(trusting(ours, tmp_path / "theirs"), bundle)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
    counts = [s.completed_bytes for s in steps if s.status == "exporting"]
    assert len(counts) > 5
    assert counts == sorted(counts)
    assert (
        counts[-1] == bundle.stat().st_size == next(s.total_bytes for s in steps if s.total_bytes)
    )


def test_an_import_that_ended_goes_on_where_it_was(
    ours: ModelStore, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = trusting(ours, tmp_path / "theirs")
    brought: list[str] = []
    take = bundle_import.BundleImport._take

    def fail_at_the_third(self: Any, digest: str, size: int, reader: Any) -> Any:
        brought.append(digest)
        if len(brought) == 3:
            raise StorageFull("no room")
        yield from take(self, digest, size, reader)

    monkeypatch.setattr(bundle_import.BundleImport, "_take", fail_at_the_third)
    with pytest.raises(StorageFull):
        take_in(other, bundle)
    assert other.all() == []
    assert len(list(other.blobs.directory.iterdir())) == 2
    begun = list(brought)
    take_in(other, bundle)
    assert brought[3:] == [begun[2], *(d for d in brought[4:] if d not in begun)]
    assert len(other.all()) == 2


def test_an_import_that_is_cancelled_leaves_no_unfinished_file(
    ours: ModelStore, bundle: Path, tmp_path: Path
) -> None:
    other = trusting(ours, tmp_path / "theirs")

    async def run() -> None:
        steps = other.import_bundle(bundle)
        async for step in steps:
            if isinstance(step, Progress) and step.status == "importing":
                break
        await steps.aclose()

    asyncio.run(run())
    assert other.all() == []
    assert not [f for f in files_in(other) if "tmp-" in f]
    assert len(take_in(other, bundle)) == 2


def test_room_is_looked_for_before_anything_is_written(
    ours: ModelStore, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 8, 1))  # type: ignore[attr-defined]
    other = trusting(ours, tmp_path / "theirs")
    with pytest.raises(StorageFull):
        take_in(other, bundle)
    assert_untouched(other)
    with pytest.raises(StorageFull):
        export(ours, ["tiny"], tmp_path / "b")
    assert not list(tmp_path.glob("*b*.dimora-part"))


# ---- what cannot be exported


def test_a_damaged_model_makes_no_bundle(ours: ModelStore, tmp_path: Path, weights: bytes) -> None:
    path = ours.blobs.path(digest_of(weights))
    target = tmp_path / "new"
    for data in (_flip(weights, 700), weights[:-1], weights + b"x", None):
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
