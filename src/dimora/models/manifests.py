"""Manifests and config files of models, as Ollama writes and reads them.

`<root>/manifests/<host>/<namespace>/<model>/<tag>` is JSON that lists the blobs of a model.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from dimora.core.errors import InvalidModel
from dimora.core.json_text import BAD_JSON
from dimora.models.names import Name, is_relative_path, parse_name
from dimora.storage.blobs import is_digest
from dimora.storage.disk import (
    disk_errors,
    make_private_directory,
    settle_directory,
    sweep_temporaries,
    write_whole,
)

MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
LAYER_PREFIX = "application/vnd.ollama.image."
# Kinds of layers that Ollama does not have (and passes over): a file of a model that is a folder,
# a document that belongs to the model, the card of what a conversion cost.
OUR_PREFIX = "application/vnd.dimora.image."
OUR_KINDS = frozenset({"file", "document", "card"})
MANIFEST_LIMIT_BYTES = 2 << 20
LAYERS_LIMIT = 10_000
# Any JSON may be in these, which takes far more room in memory than on the disk.
CONFIG_LIMIT_BYTES = 1 << 20
MESSAGES_LIMIT_BYTES = 4 << 20
TEXT_LIMIT_BYTES = 16 << 20

_T = TypeVar("_T")
_Bytes = Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]


class Layer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One blob and what it is for; `kind` is the last word of its media type, such as `params`.

    `name` is a relative file name, where the file has one. `scale` is ours: how much an adapter
    weighs.
    """

    media_type: str
    digest: str
    size: _Bytes
    from_: str = msgspec.field(default="", name="from")
    name: str = ""
    scale: float = 1.0

    @property
    def kind(self) -> str:
        kind = self.media_type.removeprefix(LAYER_PREFIX).removeprefix(OUR_PREFIX)
        return "template" if kind == "prompt" else kind


def media_type(kind: str) -> str:
    """The media type of a layer of this kind."""
    return (OUR_PREFIX if kind in OUR_KINDS else LAYER_PREFIX) + kind


class Manifest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    schema_version: int = 2
    media_type: str = MANIFEST_TYPE
    config: Layer
    layers: tuple[Layer, ...] = ()

    def of_kind(self, kind: str) -> list[Layer]:
        """Layers of one kind, in their order."""
        return [layer for layer in self.layers if layer.kind == kind]

    @property
    def digests(self) -> set[str]:
        """Every blob this manifest needs."""
        return {self.config.digest, *(layer.digest for layer in self.layers)}

    @property
    def documents_digest(self) -> str:
        """Equal where the same documents have the same names, whatever else the manifests say;
        empty without documents."""
        told = sorted(f"{layer.digest} {layer.name}" for layer in self.of_kind("document"))
        return hashlib.sha256("\n".join(told).encode()).hexdigest() if told else ""

    @property
    def size_bytes(self) -> int:
        return sum(layer.size for layer in self.layers)


class EmbeddingConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Ours, inside the config: how an embedding model wants its input."""

    query_prefix: str = ""
    passage_prefix: str = ""
    unicode_form: str = ""


class RootFs(msgspec.Struct, frozen=True, kw_only=True):
    type: str = "layers"
    diff_ids: tuple[str, ...] = ()


class Config(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The config blob. Ours are `derived`: every fact the model file tells is in here already, and
    `template_chosen`: the template of the manifest goes before the one in the model file."""

    model_format: str = ""
    model_family: str = ""
    model_families: tuple[str, ...] | None = None
    model_type: str = ""
    file_type: str = ""
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    capabilities: tuple[str, ...] | None = None
    context_length: int = 0
    embedding_length: int = 0
    embedding: EmbeddingConfig | None = None
    derived: bool = False
    template_chosen: bool = False
    architecture: str = msgspec.field(default="")
    os: str = msgspec.field(default="")
    rootfs: RootFs | None = None


class StoredMessage(msgspec.Struct, frozen=True):
    """One entry of a `messages` layer."""

    role: str
    content: str = ""


class StoredManifest(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest and what the file system says of it. `digest` is hex, of the file's bytes."""

    name: Name
    manifest: Manifest
    digest: str
    modified_at: float
    stamp: tuple[int, int, int]


class Manifests:
    """The manifests below `root`."""

    def __init__(self, root: Path) -> None:
        self._directory = root / "manifests"

    def path(self, name: Name) -> Path:
        """Where the manifest of exactly this name is or would be."""
        return self._directory.joinpath(*name.parts)

    def locate(self, name: Name) -> Name | None:
        """The name as it is spelled in the store, whatever its case; None when it is not there."""
        if self.path(name).is_file():
            return name
        wanted = name.folded
        for there in self.names():
            if there.folded == wanted:
                return there
        return None

    def names(self) -> Iterator[Name]:
        """Names of all manifests; files that are not named like one are passed over."""
        for parts in _walk(self._directory, 4):
            name = parse_name(f"{parts[0]}/{parts[1]}/{parts[2]}:{parts[3]}")
            if name is not None and name.parts == parts:
                yield name

    def stamp(self, name: Name) -> tuple[int, int, int]:
        """Changes when the file does. Raises FileNotFoundError."""
        state = self.path(name).stat()
        return (state.st_ino, state.st_size, state.st_mtime_ns)

    def read(self, name: Name) -> StoredManifest:
        """The manifest of a name as `locate` gives it.

        Raises InvalidModel when it is not a manifest, FileNotFoundError when it is gone.
        """
        path = self.path(name)
        with path.open("rb") as file:
            state = os.fstat(file.fileno())
            data = file.read(MANIFEST_LIMIT_BYTES + 1)
        return StoredManifest(
            name=name,
            manifest=decode_manifest(data, name.display),
            digest=hashlib.sha256(data).hexdigest(),
            modified_at=state.st_mtime,
            stamp=(state.st_ino, state.st_size, state.st_mtime_ns),
        )

    def write(self, name: Name, manifest: Manifest) -> None:
        """Put a manifest in place; readers see the old or the new one. Raises StorageFull."""
        self._put(name, msgspec.json.encode(manifest))

    def write_bytes(self, name: Name, data: bytes) -> None:
        """Put a manifest in place exactly as somebody else wrote it.

        Raises InvalidModel when it is no manifest, StorageFull.
        """
        decode_manifest(data, name.display)
        self._put(name, data)

    def read_bytes(self, name: Name) -> bytes:
        """The bytes of a manifest. Raises InvalidModel when they are none, FileNotFoundError."""
        with self.path(name).open("rb") as file:
            data = file.read(MANIFEST_LIMIT_BYTES + 1)
        decode_manifest(data, name.display)
        return data

    def copy(self, source: Name, target: Name) -> None:
        """The same bytes under another name, so that nothing another program wrote is lost.

        Raises InvalidModel when they are no manifest, StorageFull.
        """
        self._put(target, self.read_bytes(source))

    def _put(self, name: Name, data: bytes) -> None:
        path = self.path(name)
        with disk_errors("the model store"):
            make_private_directory(path.parent)
            write_whole(path, data)

    def remove(self, name: Name) -> None:
        """Remove a manifest, and the directories it leaves empty."""
        path = self.path(name)
        with disk_errors("the model store"):
            path.unlink()
            settle_directory(path.parent)
        with contextlib.suppress(OSError):
            for directory in path.parents[:3]:
                directory.rmdir()

    def sweep(self, *, grace_seconds: float) -> int:
        """Remove what broken writes left, and directories it leaves empty; gives how many files."""
        removed = 0
        for directory in self._directory.glob("*/*/*/"):
            removed += sweep_temporaries(directory, grace_seconds=grace_seconds)
        for path in sorted(self._directory.glob("**/"), reverse=True):
            with contextlib.suppress(OSError):
                if path != self._directory and time.time() - path.stat().st_mtime >= grace_seconds:
                    path.rmdir()
        return removed

    def references(self) -> set[str]:
        """Every digest some manifest needs. Raises InvalidModel when one cannot be read."""
        needed: set[str] = set()
        for parts in _walk(self._directory, 4):
            path = self._directory.joinpath(*parts)
            try:
                with path.open("rb") as file:
                    data = file.read(MANIFEST_LIMIT_BYTES + 1)
            except FileNotFoundError:
                continue
            needed |= decode_manifest(data, "/".join(parts)).digests
        return needed


def decode_manifest(data: bytes, name: str) -> Manifest:
    """A checked manifest; `name` is for the message. Raises InvalidModel."""
    if len(data) > MANIFEST_LIMIT_BYTES:
        raise InvalidModel(f"the manifest of {name} is larger than {MANIFEST_LIMIT_BYTES} bytes")
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except BAD_JSON as why:
        raise InvalidModel(f"the manifest of {name} is damaged: {why}", hint=_AGAIN) from None
    for digest in manifest.digests:
        if not is_digest(digest):
            raise InvalidModel(f"the manifest of {name} has a wrong digest {digest[:80]!r}")
    if len(manifest.layers) > LAYERS_LIMIT:
        raise InvalidModel(f"the manifest of {name} has {len(manifest.layers)} layers, too many")
    for layer in manifest.layers:
        if layer.kind in OUR_KINDS and layer.name and not is_relative_path(layer.name):
            raise InvalidModel(f"the manifest of {name} has a file called {layer.name[:80]!r}")
    return manifest


def with_layer(data: bytes, layer: Layer) -> bytes:
    """A checked manifest with one layer more, and everything else as somebody wrote it."""
    written = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    there = written.get("layers", msgspec.Raw(b"[]"))
    layers = msgspec.json.decode(there, type=list[msgspec.Raw])
    return msgspec.json.encode({**written, "layers": [*layers, layer]})


_AGAIN = "pull or create the model again"


def decode_config(data: bytes, name: str) -> Config:
    """The config blob. Raises InvalidModel."""
    return _decode(data, Config, f"the config of {name}", CONFIG_LIMIT_BYTES)


def decode_params(data: bytes, name: str) -> dict[str, Any]:
    """A `params` layer. Raises InvalidModel."""
    return _decode(data, dict[str, Any], f"the parameters of {name}", CONFIG_LIMIT_BYTES)


def decode_messages(data: bytes, name: str) -> list[StoredMessage]:
    """A `messages` layer. Raises InvalidModel."""
    return _decode(data, list[StoredMessage], f"the messages of {name}", MESSAGES_LIMIT_BYTES)


def _decode(data: bytes, kind: type[_T], what: str, limit_bytes: int) -> _T:
    if len(data) > limit_bytes:
        raise InvalidModel(f"{what} are larger than {limit_bytes} bytes")
    try:
        return msgspec.json.decode(data, type=kind)
    except BAD_JSON as why:
        raise InvalidModel(f"{what} are damaged: {why}", hint=_AGAIN) from None


def _walk(directory: Path, depth: int) -> Iterator[tuple[str, ...]]:
    """Relative parts of every file exactly `depth` levels down, hidden ones left out."""
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if depth == 1:
            if entry.is_file():
                yield (entry.name,)
        elif entry.is_dir():
            for rest in _walk(directory / entry.name, depth - 1):
                yield (entry.name, *rest)
