"""Models that lie on this machine and not in the store: a GGUF file, or a folder of files."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from dimora.core.errors import InvalidModel, NotFound
from dimora.models.assembly import Assembly, VerifiedFiles
from dimora.models.formats.facts import Facts, facts_of
from dimora.models.formats.file_kinds import require_weights
from dimora.models.formats.folders import (
    files_below,
    pick_files,
    read_folder,
    read_license,
    sort_files,
)
from dimora.models.formats.gguf import read_header
from dimora.tasks.base import Model, ModelSummary


class _Seen(msgspec.Struct, frozen=True):
    """A model and where it was found; a single file has no name."""

    path: Path
    files: dict[str, Path]
    model: Model


class BareModels:
    """Remembers what it found, by what the file system says of the files. Threads may share it."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._lock = threading.Lock()

    def find(self, path: Path) -> Model:
        """The model in a GGUF file, or in a folder of OpenVINO IR or ONNX Runtime GenAI.

        Raises NotFound when there is nothing, InvalidModel when it is damaged or no model.
        """
        try:
            real = path.resolve(strict=True)
            seen = self._look(real, path.name) if real.is_file() else self._look_into(real)
        except FileNotFoundError:
            raise NotFound(f"there is no file {path.name!r}", code="model_not_found") from None
        except OSError as why:
            raise InvalidModel(f"{path.name!r} cannot be read: {why.strerror}") from None
        with self._lock:
            self._seen[seen.model.weights_digest] = seen
        return seen.model

    def files(self, model: Model) -> VerifiedFiles:
        """Raises InvalidModel when they are not what they were."""
        with self._lock:
            seen = self._seen.get(model.weights_digest)
        if seen is None or self.find(seen.path).weights_digest != model.weights_digest:
            raise InvalidModel(f"{model.name!r} was changed meanwhile", hint="ask again")
        if "" in seen.files:
            return VerifiedFiles(weights=str(seen.path))
        return VerifiedFiles(folder={name: str(path) for name, path in seen.files.items()})

    def _known(self, digest: str) -> _Seen | None:
        with self._lock:
            return self._seen.get(digest)

    def _look(self, real: Path, name: str) -> _Seen:
        files = {"": real}
        digest = _seal(real, files)
        if known := self._known(digest):
            return known
        if require_weights(real, name) != "gguf":
            raise InvalidModel(
                f"{name!r} is a safetensors file: weights without the rest of a model",
                hint="name the directory it came in",
            )
        header = read_header(real)
        facts = facts_of(header)
        licenses = (facts.license,) if facts.license else ()
        fields = Assembly.header_fields(header, facts)
        return _Seen(real, files, _model(name, digest, files, facts, licenses, fields))

    def _look_into(self, real: Path) -> _Seen:
        below = files_below(real)
        picked = {name: below[given] for name, given in pick_files(below).items()}
        kinds = sort_files(picked)
        files = {name: picked[name] for name, kind in kinds.items() if kind == "file"}
        digest = _seal(real, files)
        if known := self._known(digest):
            return known
        folder = read_folder(files)
        licenses = tuple(read_license(picked[n]) for n, kind in kinds.items() if kind == "license")
        model = _model(real.name, digest, files, folder.facts, licenses, folder.fields)
        return _Seen(real, files, model)


def _seal(real: Path, files: Mapping[str, Path]) -> str:
    """A digest that changes when any of the files does."""
    lines = [os.fsencode(real)]
    for name, path in sorted(files.items()):
        state = path.stat()
        stamp = f"{name}|{state.st_dev}|{state.st_ino}|{state.st_size}|{state.st_mtime_ns}"
        lines.append(stamp.encode("utf-8", "surrogateescape"))
    return f"file:{hashlib.sha256(b'|'.join(lines)).hexdigest()}"


def _model(
    name: str,
    digest: str,
    files: Mapping[str, Path],
    facts: Facts,
    licenses: tuple[str, ...],
    fields: dict[str, Any],
) -> Model:
    states = [path.stat() for path in files.values()]
    return Model(
        summary=ModelSummary(
            name=name,
            digest=digest.removeprefix("file:"),
            size_bytes=sum(state.st_size for state in states),
            modified_at=max(state.st_mtime for state in states),
            details=facts.details,
            capabilities=facts.capabilities,
        ),
        weights_digest=digest,
        embedding=facts.embedding,
        licenses=licenses,
        **fields,
    )
