"""Looks whether models are what their manifests say, to the last byte. Changes nothing."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dimora.core.errors import DimoraError, InvalidModel, NotFound
from dimora.core.types import Progress
from dimora.models.formats.facts import facts_of
from dimora.models.formats.gguf import read_header
from dimora.models.manifests import (
    CONFIG_TYPE,
    TEXT_LIMIT_BYTES,
    Layer,
    Manifest,
    decode_config,
    decode_messages,
    decode_params,
)
from dimora.models.names import Name
from dimora.models.remembered import Stamp, stamp_of
from dimora.prompts.chat import check_template
from dimora.storage.blobs import CHUNK_BYTES, BlobStore, hash_steps, is_digest
from dimora.tasks.keeping import Fault, StoreTold
from dimora.tasks.options import options_from

if TYPE_CHECKING:
    from dimora.models.store import ModelStore

_GGUF_KINDS = frozenset({"model", "projector", "adapter", "draft"})
_STEP_BYTES = 8 * CHUNK_BYTES


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One model that was looked at. `manifest` is None when it could not be read.

    `wrong` are the blobs that are missing or have other bytes.
    """

    name: Name
    manifest: Manifest | None = None
    faults: tuple[Fault, ...] = ()
    wrong: tuple[Layer, ...] = ()


class Verification:
    """Looks at models of one store; a blob that several need is read once."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        # The digest each blob turned out to have, or what kept it from being read.
        self._blobs: dict[str, str] = {}
        self._models: set[Name] = set()
        self._sizes: dict[str, int] = {}

    @property
    def told(self) -> StoreTold:
        """How much was looked at so far; what was mended and looked at again counts once."""
        return StoreTold(
            models=len(self._models), blobs=len(self._sizes), size_bytes=sum(self._sizes.values())
        )

    def names(self, texts: Sequence[str]) -> list[Name]:
        """The models that are meant, all of them if none is named. Raises NotFound."""
        if not texts:
            return list(self._store.manifests.names())
        names = []
        for text in texts:
            there = self._store.locate(text)
            if there is None:
                raise NotFound(
                    f"model '{text[:400]}' not found",
                    code="model_not_found",
                    hint="`dimora list` shows what there is",
                )
            names.append(there)
        return list(dict.fromkeys(names))

    def look_at(self, name: Name) -> Generator[Progress | Found, None, None]:
        """Progress while blobs are read, then one Found, last."""
        try:
            manifest = self._store.manifests.read(name).manifest
        except FileNotFoundError:
            yield Found(name=name)
            return
        except (DimoraError, OSError) as why:
            fault = Fault(model=name.display, kind="manifest", problem=_words(why))
            yield Found(name=name, faults=(fault,))
            return
        self._models.add(name)
        layers = {layer.digest: layer for layer in (*manifest.layers, manifest.config)}
        total, done = sum(layer.size for layer in layers.values()), 0
        for layer in layers.values():
            for count in self._look_at_blob(layer):
                yield _progress(name, done + count, total)
            done += layer.size
        yield _progress(name, total, total)
        problems = {layer: self._problem_of(layer) for layer in layers.values()}
        faults = [_fault(name, layer, problem) for layer, problem in problems.items() if problem]
        wrong = tuple(layer for layer, problem in problems.items() if problem)
        if not faults:
            unsound = unsound_layers(self._store.blobs, manifest, templates=True)
            faults = [_fault(name, layer, problem) for layer, problem in unsound]
        yield Found(name=name, manifest=manifest, faults=tuple(faults), wrong=wrong)

    def forget(self, digest: str) -> None:
        """Read this blob again when it is needed next."""
        self._blobs.pop(digest, None)

    def _look_at_blob(self, layer: Layer) -> Generator[int, None, None]:
        """Read a blob; whoever remembers it as right is corrected."""
        digest, told = layer.digest, 0
        stamp: Stamp | None = None
        if digest in self._blobs:
            return
        path, steps = self._store.blobs.path(digest), hash_steps(self._store.blobs.path(digest))
        try:
            stamp = stamp_of(path)
            while True:
                count = next(steps)
                if count - told >= _STEP_BYTES:
                    told = count
                    yield count
        except StopIteration as ended:
            self._blobs[digest] = str(ended.value)
        except OSError as why:
            is_gone = isinstance(why, FileNotFoundError)
            self._blobs[digest] = "is missing" if is_gone else _words(why)
        if self._blobs[digest] == digest:
            self._store.remembered.note_verified(digest, path, stamp)
        else:
            self._store.remembered.forget_verified(digest)
        self._sizes[digest] = layer.size

    def _problem_of(self, layer: Layer) -> str:
        """What is wrong with a blob that was looked at, empty for nothing."""
        there = self._blobs[layer.digest]
        if there == layer.digest:
            size = self._store.blobs.size_of(layer.digest)
            return "" if size == layer.size else f"has {size} bytes instead of {layer.size}"
        return f"is damaged: its sha256 is {there[7:19]}..." if is_digest(there) else there


def unsound_layers(
    blobs: BlobStore, manifest: Manifest, *, templates: bool = False
) -> Iterator[tuple[Layer, str]]:
    """Layers that have the right bytes and are not what they should be, each with what is wrong.

    `templates`: also those whose template can never be rendered.
    """
    # A template in the model file is not used where the manifest has one.
    own = templates and not manifest.of_kind("template")
    for layer in (manifest.config, *manifest.layers):
        try:
            if layer is manifest.config:
                decode_config(_text(blobs, layer), "the model")
            elif layer.kind in _GGUF_KINDS:
                _require_gguf(blobs.path(layer.digest), layer.kind, own)
            elif layer.kind == "params":
                options_from(decode_params(_text(blobs, layer), "the model"))
            elif layer.kind == "messages":
                decode_messages(_text(blobs, layer), "the model")
            elif layer.kind == "template" and templates:
                check_template(_text(blobs, layer).decode("utf-8", "replace"))
        except (DimoraError, OSError) as why:
            yield layer, _words(why)


def _require_gguf(path: Path, kind: str, with_template: bool) -> None:
    """Raises InvalidModel, BadRequest."""
    header = read_header(path)
    if kind == "model":
        template = facts_of(header).chat_template
        if with_template and template:
            check_template(template)


def _text(blobs: BlobStore, layer: Layer) -> bytes:
    data = blobs.read(layer.digest, limit_bytes=TEXT_LIMIT_BYTES)
    if data is None:
        raise InvalidModel("is too large or was just changed")
    return data


def _fault(name: Name, layer: Layer, problem: str) -> Fault:
    kind = "config" if layer.media_type == CONFIG_TYPE else layer.kind
    return Fault(model=name.display, kind=kind, digest=layer.digest, problem=problem)


def _progress(name: Name, count: int, total: int) -> Progress:
    return Progress(
        status=f"verifying {name.display}", total_bytes=max(total, 1), completed_bytes=count
    )


def _words(why: DimoraError | OSError) -> str:
    return why.message if isinstance(why, DimoraError) else f"cannot be read: {why.strerror}"
