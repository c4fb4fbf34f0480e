"""Bundles that are not as they should be."""

from __future__ import annotations

import base64
import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dimora.models.bundles.keys import public_text
from tests.unit.models.bundles.bundling import flip
from tests.unit.models.making import digest_of

FORGERIES: list[Callable[[Forgery], None]] = []


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


def forges(change: Callable[[Forgery], None]) -> Callable[[Forgery], None]:
    """A change after which no bundle may be taken."""
    FORGERIES.append(change)
    return change


@forges
def _unsigned(forgery: Forgery) -> None:
    forgery.drop("dimora-signature.json")


@forges
def _signed_by_nobody(forgery: Forgery) -> None:
    told = json.loads(forgery.data("dimora-signature.json"))
    forgery.put("dimora-signature.json", json.dumps(told | {"signature": ""}).encode())


@forges
def _other_algorithm(forgery: Forgery) -> None:
    told = json.loads(forgery.data("dimora-signature.json"))
    forgery.put("dimora-signature.json", json.dumps(told | {"algorithm": "none"}).encode())


@forges
def _other_key_id(forgery: Forgery) -> None:
    told = json.loads(forgery.data("dimora-signature.json"))
    forgery.put("dimora-signature.json", json.dumps(told | {"key_id": "0" * 64}).encode())


@forges
def _more_in_the_signature(forgery: Forgery) -> None:
    told = json.loads(forgery.data("dimora-signature.json"))
    forgery.put("dimora-signature.json", json.dumps(told | {"also": 1}).encode())


@forges
def _altered_blob(forgery: Forgery) -> None:
    member, data = forgery.members[-1]
    forgery.members[-1] = (member, flip(data, len(data) // 2))


@forges
def _altered_manifest(forgery: Forgery) -> None:
    member, data = forgery.members[3]
    forgery.members[3] = (member, data.replace(b"amd64", b"arm64").replace(b"size", b"sizf", 1))


@forges
def _missing_blob(forgery: Forgery) -> None:
    forgery.members.pop()


@forges
def _unneeded_blob(forgery: Forgery) -> None:
    forgery.add(f"blobs/sha256/{hashlib.sha256(b'x').hexdigest()}", b"x")


@forges
def _twice(forgery: Forgery) -> None:
    forgery.members.append(forgery.members[-1])


@forges
def _other_order(forgery: Forgery) -> None:
    forgery.members[-1], forgery.members[-2] = forgery.members[-2], forgery.members[-1]


@forges
def _link(forgery: Forgery) -> None:
    member, _ = forgery.members[-1]
    member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/passwd", 0
    forgery.members[-1] = (member, b"")


@forges
def _hard_link(forgery: Forgery) -> None:
    member, _ = forgery.members[-1]
    member.type, member.linkname = tarfile.LNKTYPE, forgery.members[-2][0].name
    member.size, forgery.members[-1] = 0, (member, b"")


@forges
def _device(forgery: Forgery) -> None:
    forgery.add("blobs/sha256/zero", type=tarfile.CHRTYPE, devmajor=1, devminor=5)


@forges
def _directory(forgery: Forgery) -> None:
    forgery.add("blobs", type=tarfile.DIRTYPE)


@forges
def _absolute(forgery: Forgery) -> None:
    forgery.members[-1][0].name = "/" + forgery.members[-1][0].name


@forges
def _upwards(forgery: Forgery) -> None:
    forgery.members[-1][0].name = "blobs/sha256/../../../../evil"


@forges
def _with_an_owner(forgery: Forgery) -> None:
    forgery.members[-1][0].uname = "root"
    forgery.members[-1][0].mode = 0o4755


@forges
def _goes_on(forgery: Forgery) -> None:
    forgery.add("evil.sh", b"#!/bin/sh\n")


@forges
def _name_upwards(forgery: Forgery) -> None:
    _rename(forgery, "registry.ollama.ai/library/../../evil:latest")


@forges
def _name_short(forgery: Forgery) -> None:
    _rename(forgery, "zzz")


@forges
def _name_none(forgery: Forgery) -> None:
    forgery.change_index(lambda index: index["manifests"][1].pop("annotations"))


def _rename(forgery: Forgery, name: str) -> None:
    def change(index: Any) -> None:
        index["manifests"][1]["annotations"]["org.opencontainers.image.ref.name"] = name

    forgery.change_index(change)


@forges
def _same_name_twice(forgery: Forgery) -> None:
    _rename(forgery, "registry.example:5000/me/other:q4")


@forges
def _same_name_in_another_case(forgery: Forgery) -> None:
    _rename(forgery, "registry.example:5000/me/otheR:q4")


@forges
def _nothing(forgery: Forgery) -> None:
    forgery.members = forgery.members[:3]
    forgery.change_index(lambda index: index.update(manifests=[]))


@forges
def _newer_form(forgery: Forgery) -> None:
    forgery.change_index(lambda index: index["annotations"].update({"dimora.bundle": "2"}))


@forges
def _index_with_more(forgery: Forgery) -> None:
    forgery.change_index(lambda index: index.update(subject={"digest": "sha256:0"}))


@forges
def _index_that_is_no_json(forgery: Forgery) -> None:
    forgery.put("index.json", b"[" * 100_000)
    forgery.sign()


@forges
def _digest_upwards(forgery: Forgery) -> None:
    forgery.change_index(lambda i: i["manifests"][0].update(digest="sha256:../../../../evil"))


@forges
def _layer_digest_upwards(forgery: Forgery) -> None:
    forgery.change_manifest(lambda m: m["layers"][0].update(digest="sha256:../../evil"))


@forges
def _container_image(forgery: Forgery) -> None:
    kind = "application/vnd.oci.image.layer.v1.tar+gzip"
    forgery.change_manifest(lambda m: m["layers"][0].update(mediaType=kind))


@forges
def _no_weights(forgery: Forgery) -> None:
    kind = "application/vnd.ollama.image.system"
    forgery.change_manifest(lambda m: m["layers"][0].update(mediaType=kind))


@forges
def _other_schema(forgery: Forgery) -> None:
    forgery.change_manifest(lambda manifest: manifest.update(schemaVersion=1))


@forges
def _size_beyond_the_file(forgery: Forgery) -> None:
    forgery.change_manifest(lambda manifest: manifest["layers"][0].update(size=1 << 45))


@forges
def _huge_text(forgery: Forgery) -> None:
    kind = "application/vnd.ollama.image.license"
    forgery.change_manifest(
        lambda m: m["layers"].append(
            {"mediaType": kind, "digest": digest_of(b"z"), "size": 17 << 20}
        )
    )


@forges
def _document_upwards(forgery: Forgery) -> None:
    forgery.change_manifest(lambda manifest: manifest["layers"][-1].update(name="../../evil"))


@forges
def _negative_size(forgery: Forgery) -> None:
    forgery.change_manifest(lambda manifest: manifest["layers"][0].update(size=-1))


@forges
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
