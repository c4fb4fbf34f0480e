"""Writes models of the store into a bundle: the same models and key give the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from dimora.core.errors import BadRequest, Conflict, InvalidModel, NotFound
from dimora.core.types import Progress
from dimora.models.bundles.form import (
    INDEX_NAME,
    LAYOUT,
    LAYOUT_NAME,
    SIGNATURE_NAME,
    BundleModel,
    Contents,
    blob_name,
    index_of,
    make_model,
    signature_of,
    size_of,
)
from dimora.models.bundles.keys import BundleKeys
from dimora.models.bundles.tar import END, header_of, padding_of
from dimora.models.names import require_name
from dimora.storage.blobs import CHUNK_BYTES
from dimora.storage.disk import (
    discard,
    disk_errors,
    require_room,
    settle_directory,
    settle_file,
    temporary_for,
)

if TYPE_CHECKING:
    from dimora.models.store import ModelStore

_PLACE = "the bundle"
_STEP_BYTES = 8 * CHUNK_BYTES


def export_bundle(
    store: ModelStore, keys: BundleKeys, names: Sequence[str], path: Path, *, replace: bool = False
) -> Generator[Progress, None, None]:
    """Make the bundle at `path`; nothing is there before all of it is on the disk.

    Raises NotFound, BadRequest, Conflict, InvalidModel for a model that is damaged, StorageFull.
    """
    contents = Contents(models=_models_of(store, names))
    if not path.parent.is_dir():
        raise BadRequest("the bundle must be a file in a directory that is there", param="path")
    _require_free(path, replace)
    yield Progress(status="signing the bundle")
    index = index_of(contents)
    heads = (LAYOUT, index, signature_of(keys.public_key(), keys.sign(index)))
    total = size_of(contents, heads)
    temporary = temporary_for(path)
    with disk_errors(_PLACE):
        require_room(path.parent, total, _PLACE)
        try:
            with temporary.open("xb") as file:
                for count in _write(file, store, contents, heads):
                    yield Progress(status="exporting", total_bytes=total, completed_bytes=count)
                file.flush()
                settle_file(file.fileno())
            _require_free(path, replace)
            temporary.replace(path)
            settle_directory(path.parent)
        finally:
            discard(temporary)
    yield Progress(status="success")


def _models_of(store: ModelStore, names: Sequence[str]) -> tuple[BundleModel, ...]:
    """The models in the order of their names, each once."""
    found: dict[tuple[str, ...], BundleModel] = {}
    for text in names:
        require_name(text, "name")
        there = store.locate(text)
        if there is None:
            raise NotFound(
                f"model '{text[:400]}' not found",
                code="model_not_found",
                hint="`dimora list` shows what there is",
            )
        found[there.parts] = make_model(there, store.manifests.read_bytes(there))
    if not found:
        raise BadRequest("which models? name at least one", param="names")
    return tuple(found[parts] for parts in sorted(found, key=_in_order))


def _in_order(parts: tuple[str, ...]) -> str:
    host, namespace, model, tag = parts
    return f"{host}/{namespace}/{model}:{tag}"


def _require_free(path: Path, replace: bool) -> None:
    if path.exists() and not path.is_file():
        raise BadRequest(f"{path.name!r} is not a plain file, and stays as it is", param="path")
    if path.exists() and not replace:
        raise Conflict(f"there is a file {path.name!r} already", hint="--replace writes over it")


def _write(
    file: BinaryIO, store: ModelStore, contents: Contents, heads: tuple[bytes, ...]
) -> Generator[int, None, None]:
    """Yields now and then how many bytes there are."""
    small = [*zip((LAYOUT_NAME, INDEX_NAME, SIGNATURE_NAME), heads, strict=True)]
    small += [(blob_name(digest), data) for digest, data in contents.manifests.items()]
    for name, data in small:
        file.write(header_of(name, len(data)) + data + padding_of(len(data)))
    for digest, size in contents.members:
        file.write(header_of(blob_name(digest), size))
        yield from _copy(file, store, digest, size)
        file.write(padding_of(size))
    file.write(END)
    yield file.tell()


def _copy(file: BinaryIO, store: ModelStore, digest: str, size: int) -> Generator[int, None, None]:
    """The bytes of a blob, which are looked at on the way. Raises InvalidModel."""
    sha256, count, told = hashlib.sha256(), 0, 0
    try:
        with store.blobs.path(digest).open("rb") as blob:
            while chunk := blob.read(CHUNK_BYTES):
                sha256.update(chunk)
                count += len(chunk)
                if count > size:
                    break
                file.write(chunk)
                if count - told >= _STEP_BYTES:
                    told = count
                    yield file.tell()
    except FileNotFoundError:
        pass
    if count != size or f"sha256:{sha256.hexdigest()}" != digest:
        what = "is missing" if not count else "is damaged"
        raise InvalidModel(
            f"blob {digest} {what}, so that no bundle can be made of its model",
            hint="`dimora verify --repair` may mend it",
        )
    yield file.tell()
