"""Finds the files of this machine that a Modelfile means, before any of them is read."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from dimora.core.errors import BadRequest
from dimora.models.converting.checkpoints import require_weights
from dimora.models.converting.peft_adapters import require_fit
from dimora.models.formats.gguf import Header
from dimora.models.names import is_file_name, is_relative_path, parse_name, without_scheme
from dimora.models.sorting import sort_adapter, sort_files
from dimora.tasks.modelfile import Modelfile

# Of a folder with weights to convert; everything else in it is for people.
_BESIDE_WEIGHTS = ("*.json", "*.txt", "*.jinja", "*.model", "*.tiktoken")
# Some folders have the same weights twice: the first that is there is taken.
_WEIGHTS = ("model*.safetensors", "consolidated*.safetensors", "*.safetensors")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")

Files = dict[str, Path]


class LocalFiles(msgspec.Struct, kw_only=True):
    """What a Modelfile names: a model `source` and a `draft` by name, and files by relative name.

    `adapters` have their scales.
    """

    source: str = ""
    files: Files = {}
    adapters: list[tuple[Files, float]] = []
    draft: str = ""
    draft_files: Files = {}
    documents: Files = {}

    def paths(self) -> list[Path]:
        """Every file once, the smallest first: what is wrong shows soon."""
        sets = [self.files, self.draft_files, self.documents, *(a for a, _ in self.adapters)]
        found = {path for files in sets for path in files.values()}
        return sorted(found, key=lambda path: (path.stat().st_size, path))


def find_files(modelfile: Modelfile, directory: Path) -> LocalFiles:
    """Paths in the Modelfile are relative to `directory`, where it lies.

    Raises BadRequest with the line of what is not there.
    """
    found = LocalFiles()
    for word in modelfile.sources:
        _take_source(modelfile, word, directory, found)
    for word, scale in modelfile.adapters:
        path = _path_of(word, directory)
        if path is None:
            raise _missing(modelfile, word)
        found.adapters.append((_adapter_files(modelfile, word, path), scale))
    if modelfile.draft:
        path = _path_of(modelfile.draft, directory)
        if path is None:
            found.draft = modelfile.draft
        else:
            found.draft_files = _model_files(modelfile, modelfile.draft, path)
    for word in modelfile.documents:
        path = _path_of(word, directory)
        if path is None:
            raise _missing(modelfile, word)
        _add(found.documents, _documents(modelfile, word, path))
    _require_paths(modelfile, found)
    return found


def check_files(modelfile: Modelfile, found: LocalFiles) -> None:
    """Look at every file before any of them is taken: what each one is, and whether it is whole.

    Raises BadRequest and InvalidModel, with the line that names the file.
    """
    base: Header | None = None
    if found.files:
        with _blaming(modelfile, modelfile.sources[0]):
            base = _header_of(found.files)
    if found.draft_files:
        with _blaming(modelfile, modelfile.draft):
            _header_of(found.draft_files)
    for (word, _), (files, _) in zip(modelfile.adapters, found.adapters, strict=True):
        with _blaming(modelfile, word):
            adapter = sort_adapter(files)
            if adapter is not None and base is not None:
                require_fit(adapter.header, base)


def _header_of(files: Files) -> Header | None:
    """Of the GGUF among a model's files, once all of them are what they should be."""
    kinds = sort_files(files)
    if kinds.kind == "safetensors":
        require_weights(files)
    return kinds.weights.header if kinds.weights is not None else None


@contextlib.contextmanager
def _blaming(modelfile: Modelfile, word: str) -> Iterator[None]:
    """Errors get the number of the line that has this word."""
    try:
        yield
    except BadRequest as why:
        why.message = _with_line(modelfile, word, why.message)
        raise
    except OSError as why:
        raise _wrong(modelfile, word, f"{word!r} cannot be read: {why.strerror}") from None


def _take_source(modelfile: Modelfile, word: str, directory: Path, found: LocalFiles) -> None:
    path = _path_of(word, directory)
    if path is not None and path.is_dir() and not _means_folder(modelfile, word, path):
        path = None
    if path is not None:
        _add(found.files, _model_files(modelfile, word, path))
    elif found.source:
        raise _wrong(modelfile, word, f"{word!r} is the second model")
    else:
        found.source = word


def _path_of(word: str, directory: Path) -> Path | None:
    """The path a word means, where something is there."""
    try:
        path = directory / Path(word).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError, ValueError):
        return None


def _means_folder(modelfile: Modelfile, word: str, path: Path) -> bool:
    """A folder that only happens to be called like a model is not meant."""
    if is_file_name(word) or parse_name(word) is None:
        return True
    try:
        return bool(_model_files(modelfile, word, path))
    except BadRequest:
        return False


def _require_paths(modelfile: Modelfile, found: LocalFiles) -> None:
    """Raises BadRequest for what looks like a path and is not there, so that nobody pulls it, and
    for what is no name either."""
    for word in filter(None, (found.source, found.draft)):
        if is_file_name(word) or word.endswith(".safetensors"):
            raise _missing(modelfile, word)
        if parse_name(without_scheme(word)) is None:
            raise _wrong(
                modelfile, word, f"{word!r} is no model's name, and there is no file of that name"
            )


def _model_files(modelfile: Modelfile, word: str, path: Path) -> Files:
    if not path.is_dir():
        return {path.name: _plain(modelfile, word, path)}
    names = {each.name.lower() for each in path.iterdir()}
    if "genai_config.json" in names:
        return _all_below(path)
    if any(name.endswith(".xml") and f"{name[:-4]}.bin" in names for name in names):
        return _matching(path, "*")
    for pattern in _WEIGHTS:
        if weights := _matching(path, pattern):
            return weights | _matching(path, *_BESIDE_WEIGHTS)
    if files := _matching(path, "*.gguf"):
        return files
    what = "there is no model in the folder"
    if _matching(path, *_PICKLES):
        what = "there are only pickles, which can run code, in the folder"
    raise _wrong(modelfile, word, f"{what} {word!r}")


def _adapter_files(modelfile: Modelfile, word: str, path: Path) -> Files:
    if not path.is_dir():
        return {path.name: _plain(modelfile, word, path)}
    files = _matching(path, "adapter_config.json", "adapter_model.safetensors")
    if len(files) == 2:
        return files
    files = _matching(path, "*.gguf")
    if len(files) != 1:
        raise _wrong(modelfile, word, f"there is no adapter in the folder {word!r}")
    return files


def _documents(modelfile: Modelfile, word: str, path: Path) -> Files:
    """By the path as it is written, or by the last part of one that leads elsewhere."""
    name = os.path.normpath(word).replace(os.sep, "/")
    if not is_relative_path(name):
        name = path.resolve().name
    if path.is_dir():
        return {f"{name}/{below}": file for below, file in _all_below(path).items()}
    return {name: _plain(modelfile, word, path)}


def _plain(modelfile: Modelfile, word: str, path: Path) -> Path:
    if not path.is_file():
        raise _wrong(modelfile, word, f"{word!r} is no plain file")
    return path


def _matching(folder: Path, *patterns: str) -> Files:
    found = (path for pattern in patterns for path in folder.glob(pattern))
    return {path.name: path for path in sorted(found) if _counts(path)}


def _all_below(folder: Path) -> Files:
    return {path.relative_to(folder).as_posix(): path for path in _walk(folder)}


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
            yield from _walk(path)
        elif _counts(path):
            yield path


def _counts(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".")


def _add(files: Files, more: Files) -> None:
    """More files, under other names where a name is taken."""
    for name, path in more.items():
        free = name
        number = 2
        while free in files and files[free] != path:
            free = f"{number}/{name}"
            number += 1
        files[free] = path


def _missing(modelfile: Modelfile, word: str) -> BadRequest:
    return _wrong(modelfile, word, f"there is no file {word!r}")


def _wrong(modelfile: Modelfile, word: str, what: str) -> BadRequest:
    return BadRequest(_with_line(modelfile, word, what), code="invalid_modelfile")


def _with_line(modelfile: Modelfile, word: str, what: str) -> str:
    line = modelfile.lines.get(word)
    return f"(line {line}): {what}" if line else what
