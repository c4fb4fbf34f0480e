"""What a bundle is: models in one signed file, for machines that no network connects.

An uncompressed tar file that is an OCI image layout: `oci-layout`, `index.json` with the manifests
and their models' names, `blobs/sha256/...`, and beside them `dimora-signature.json`. The signature
is over the bytes of `index.json`, the index names the manifests by digest, and they all blobs, so
that not one byte of a model can differ. The order of the files follows from the index.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Annotated, TypeVar

import msgspec

from dimora.core.errors import InvalidModel
from dimora.core.json_text import BAD_JSON
from dimora.models.bundles.keys import fingerprint, is_signed_by, parse_public, public_text
from dimora.models.bundles.tar import END, BundleReader, room_of
from dimora.models.manifests import (
    LAYER_PREFIX,
    OUR_PREFIX,
    TEXT_LIMIT_BYTES,
    Layer,
    Manifest,
    decode_manifest,
)
from dimora.models.names import Name, is_relative_path, parse_name
from dimora.storage.blobs import is_digest

LAYOUT_NAME, INDEX_NAME, SIGNATURE_NAME = "oci-layout", "index.json", "dimora-signature.json"
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
# All of this is held in memory.
INDEX_LIMIT_BYTES = 1 << 20
MANIFESTS_LIMIT_BYTES = 4 << 20
_SIGNATURE_LIMIT_BYTES = 4096
_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
_NAME = "org.opencontainers.image.ref.name"
_VERSION = {"dimora.bundle": "1"}
# Layers of these kinds may be larger than what is read at once.
_LARGE = frozenset({"model", "projector", "adapter", "draft", "file", "document", "tensor"})
_T = TypeVar("_T")


class BundleModel(msgspec.Struct, frozen=True, kw_only=True):
    """One model of a bundle; `data` are the exact bytes of its manifest, `digest` is theirs."""

    name: Name
    digest: str
    data: bytes
    manifest: Manifest


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle without its blobs: models in the order of their names, and who signed."""

    models: tuple[BundleModel, ...]
    signer: bytes = b""

    @property
    def members(self) -> tuple[tuple[str, int], ...]:
        """Digest and size of all blobs but the manifests, in their order.

        Raises InvalidModel when two manifests give one blob two sizes.
        """
        sizes: dict[str, int] = {}
        for model in self.models:
            for layer in (model.manifest.config, *model.manifest.layers):
                if sizes.setdefault(layer.digest, layer.size) != layer.size:
                    raise InvalidModel(f"two sizes are told of blob {layer.digest}")
        for digest in self.manifests:
            sizes.pop(digest, None)
        return tuple(sorted(sizes.items()))

    @property
    def manifests(self) -> dict[str, bytes]:
        """The bytes of all manifests by digest, in their order."""
        return {model.digest: model.data for model in self.models}


class _Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    media_type: str
    digest: str
    size: Annotated[int, msgspec.Meta(ge=0, le=MANIFESTS_LIMIT_BYTES)]
    annotations: dict[str, str]


class _Index(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    schema_version: int = 2
    media_type: str = _INDEX_TYPE
    manifests: tuple[_Row, ...]
    annotations: dict[str, str]


class _Signature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    algorithm: str = "ed25519"
    public_key: str
    key_id: str
    signature: str


def blob_name(digest: str) -> str:
    """The name of a blob's file in a bundle."""
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def make_model(name: Name, data: bytes) -> BundleModel:
    """A model as its manifest is. Raises InvalidModel for one a bundle cannot carry."""
    manifest = decode_manifest(data, name.display)
    if manifest.schema_version != 2 or not all(_is_ours(layer) for layer in manifest.layers):
        raise InvalidModel(f"{name.display} is no model: it has layers of another program")
    if not (manifest.of_kind("model") or manifest.of_kind("file")):
        raise InvalidModel(f"{name.display} has no model file in it")
    for layer in (manifest.config, *manifest.layers):
        if layer.kind not in _LARGE and layer.size > TEXT_LIMIT_BYTES:
            raise InvalidModel(f"a {layer.kind[:40]} layer of {layer.size} bytes is too large")
        if layer.name and not is_relative_path(layer.name):
            raise InvalidModel(f"{name.display} names a file {layer.name[:80]!r}")
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return BundleModel(name=name, digest=digest, data=data, manifest=manifest)


def _is_ours(layer: Layer) -> bool:
    return layer.media_type.startswith((LAYER_PREFIX, OUR_PREFIX))


def index_of(contents: Contents) -> bytes:
    """The bytes of index.json. Raises InvalidModel when there is too much in it."""
    rows = tuple(
        _Row(
            media_type=model.manifest.media_type,
            digest=model.digest,
            size=len(model.data),
            annotations={_NAME: _full_name(model.name)},
        )
        for model in contents.models
    )
    data = msgspec.json.encode(_Index(manifests=rows, annotations=_VERSION))
    all_bytes = sum(len(told) for told in contents.manifests.values())
    if len(data) > INDEX_LIMIT_BYTES or all_bytes > MANIFESTS_LIMIT_BYTES:
        raise InvalidModel("these are too many models for one bundle")
    return data


def signature_of(public_key: bytes, signature: bytes) -> bytes:
    """The bytes of dimora-signature.json."""
    return msgspec.json.encode(
        _Signature(
            public_key=public_text(public_key),
            key_id=fingerprint(public_key),
            signature=base64.b64encode(signature).decode(),
        )
    )


def size_of(contents: Contents, heads: tuple[bytes, ...]) -> int:
    """Bytes of the whole bundle; `heads` are its first three files."""
    sizes = [len(data) for data in (*heads, *contents.manifests.values())]
    return sum(room_of(size) for size in (*sizes, *(s for _, s in contents.members))) + len(END)


def read_contents(reader: BundleReader) -> Contents:
    """Everything before the first blob, checked; the reader stands there then.

    Raises InvalidModel for a bundle that is damaged, altered, unsigned, or none at all.
    """
    try:
        layout = reader.take_small(LAYOUT_NAME, len(LAYOUT))
    except InvalidModel:
        raise InvalidModel(
            "this is no bundle", hint="`dimora bundle export` makes them, and nothing else does"
        ) from None
    if layout != LAYOUT:
        raise InvalidModel("the bundle has another layout", hint="only Dimora's can be imported")
    index = reader.take_small(INDEX_NAME, INDEX_LIMIT_BYTES)
    signature = reader.take_small(SIGNATURE_NAME, _SIGNATURE_LIMIT_BYTES)
    signer = _signer_of(signature, index)
    contents = Contents(models=_models_in(index, reader), signer=signer)
    size_bytes = size_of(contents, (layout, index, signature))
    if size_bytes > reader.size_bytes:
        raise InvalidModel(
            f"the bundle is cut off: {reader.size_bytes} of its {size_bytes} bytes are here",
            hint="copy it again",
        )
    if size_bytes < reader.size_bytes:
        raise InvalidModel("the bundle is larger than what is in it", hint="copy it again")
    return contents


def _signer_of(data: bytes, index: bytes) -> bytes:
    """The public key the index is signed with. Raises InvalidModel."""
    told = _decode(data, _Signature, "the signature of the bundle")
    key = parse_public(told.public_key)
    try:
        signature = base64.b64decode(told.signature, validate=True)
    except (binascii.Error, ValueError):
        signature = b""
    if told.algorithm != "ed25519" or key is None or told.key_id != fingerprint(key):
        raise InvalidModel("the signature of the bundle is none", code="bad_signature")
    if not is_signed_by(key, signature, index):
        raise InvalidModel(
            "the signature of the bundle is wrong: it was altered or damaged after it was signed",
            code="bad_signature",
            hint="get it again from where it was made",
        )
    return key


def _models_in(index: bytes, reader: BundleReader) -> tuple[BundleModel, ...]:
    told = _decode(index, _Index, "the index of the bundle")
    if told.annotations != _VERSION or told.media_type != _INDEX_TYPE or told.schema_version != 2:
        raise InvalidModel("the bundle has another form", hint="a newer Dimora may read it")
    if sum(row.size for row in told.manifests) > MANIFESTS_LIMIT_BYTES:
        raise InvalidModel("the bundle has too many models")
    names = [_name_of(row) for row in told.manifests]
    if not names or names != sorted(names, key=_full_name):
        raise InvalidModel("the index of the bundle is not in order")
    if len({name.folded for name in names}) != len(names):
        raise InvalidModel("the bundle has two models of one name")
    known: dict[str, bytes] = {}
    models = []
    for name, row in zip(names, told.manifests, strict=True):
        if row.digest not in known:
            known[row.digest] = _manifest_of(row, reader)
        model = make_model(name, known[row.digest])
        if (len(model.data), model.manifest.media_type) != (row.size, row.media_type):
            raise InvalidModel(f"the bundle tells another manifest of {name.display} than it has")
        models.append(model)
    return tuple(models)


def _manifest_of(row: _Row, reader: BundleReader) -> bytes:
    if not is_digest(row.digest):
        raise InvalidModel(f"the bundle has a wrong digest {row.digest[:80]!r}")
    reader.enter(blob_name(row.digest), row.size)
    data = reader.read(row.size)
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != row.digest:
        raise InvalidModel(f"manifest {row.digest} in the bundle was altered or damaged")
    return data


def _name_of(row: _Row) -> Name:
    """The model's name, which is written in full."""
    text = row.annotations.get(_NAME, "")
    name = parse_name(text)
    if name is None or _full_name(name) != text:
        raise InvalidModel(f"the bundle has a model with the name {text[:200]!r}")
    return name


def _full_name(name: Name) -> str:
    return f"{name.host}/{name.namespace}/{name.model}:{name.tag}"


def _decode(data: bytes, kind: type[_T], what: str) -> _T:
    try:
        return msgspec.json.decode(data, type=kind)
    except BAD_JSON as why:
        raise InvalidModel(f"{what} is damaged: {why}") from None
