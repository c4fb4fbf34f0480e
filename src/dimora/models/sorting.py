"""Tells what the files of a recipe are, by their names and their headers, before anything is made.

Nothing slow and nothing that could run code: a GGUF's header is read, and no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from dimora.core.errors import BadRequest, InvalidModel
from dimora.models.formats.file_kinds import require_harmless
from dimora.models.formats.gguf import MAGIC, Header, read_header
from dimora.models.formats.safetensors_file import read_header as read_safetensors
from dimora.models.names import is_relative_path

if TYPE_CHECKING:
    from dimora.models.store import ModelStore

# What a set of files is: one or two GGUF files, weights to convert, or a folder kept as it is.
Kind = Literal["gguf", "safetensors", "openvino", "onnx"]

FILES_AT_MOST = 4096
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


class GgufFile(msgspec.Struct, frozen=True, kw_only=True):
    """A GGUF; `name` is what its bringer calls it."""

    name: str
    header: Header


class Sorted(msgspec.Struct, frozen=True, kw_only=True):
    """What files are; of GGUF files the one with weights and its projector."""

    kind: Kind
    weights: GgufFile | None = None
    projector: GgufFile | None = None


def sort_files(paths: Mapping[str, Path]) -> Sorted:
    """What the files of a model are, by their names.

    Raises BadRequest in Ollama's words, InvalidModel for a file that is damaged or could run code,
    OSError.
    """
    for name, path in paths.items():
        require_harmless(path, name)
    kind = _kind_of(paths)
    if kind != "gguf":
        _require_sound(paths)
        return Sorted(kind=kind)
    found: dict[str, GgufFile] = {}
    for name, path in paths.items():
        if _is_gguf(path, name):
            file = read_gguf(path, name)
            role = "projector" if is_projector(file.header) else "weights"
            _refuse_odd_ones(file)
            if role in found:
                raise BadRequest(
                    f"{name!r} and {found[role].name!r} are both {role}: a model has one of each",
                    hint="name the one you mean",
                    param="files",
                )
            found[role] = file
    return Sorted(kind="gguf", **found)


def _require_sound(paths: Mapping[str, Path]) -> None:
    """Raises InvalidModel for safetensors that are damaged."""
    # One file may have many names; it is read once.
    found = {
        path: None
        for name, path in paths.items()
        if require_harmless(path, name) == "safetensors" or name.lower().endswith(".safetensors")
    }
    for path in found:
        read_safetensors(path)


def sort_adapter(paths: Mapping[str, Path]) -> GgufFile | None:
    """The adapter where it is a GGUF; None for the files of a PEFT folder.

    Raises BadRequest for anything else, InvalidModel, OSError.
    """
    for name, path in paths.items():
        require_harmless(path, name)
    names = {name.rpartition("/")[2] for name in paths}
    if "adapter_config.json" in names and any(name.endswith(".safetensors") for name in names):
        _require_sound(paths)
        return None
    found = [read_gguf(path, name) for name, path in paths.items() if _is_gguf(path, name)]
    if len(found) != 1 or len(paths) != 1:
        raise BadRequest(
            "unknown type",
            hint="an adapter is one GGUF, or adapter_config.json and adapter_model.safetensors",
            param="adapters",
        )
    if found[0].header.metadata.get("general.type") != "adapter":
        raise BadRequest(f"{found[0].name!r} is a model and no adapter", param="adapters")
    return found[0]


def stored_paths(store: ModelStore, files: Mapping[str, str], param: str) -> dict[str, Path]:
    """Where the blobs of these digests lie, by the files' names. Blocks while blobs that were never
    checked are hashed.

    Raises BadRequest unless each name is a safe one and each digest that of a blob in the store,
    whose bytes are right.
    """
    if len(files) > FILES_AT_MOST:
        raise BadRequest(f"a model of more than {FILES_AT_MOST} files", param=param)
    for name, digest in files.items():
        if not is_relative_path(name):
            raise BadRequest(
                "file path must be relative", hint="with / between its parts and no ..", param=param
            )
        if store.find_blob(digest) is None:
            raise BadRequest(
                f"the file {name!r} is not here: there is no blob {digest[:80]}",
                hint="send it to /api/blobs/ first",
                code="blob_not_found",
                param=param,
            )
    return {name: store.blobs.path(digest) for name, digest in files.items()}


def read_gguf(path: Path, name: str) -> GgufFile:
    """Raises BadRequest when it is none, InvalidModel when it is damaged."""
    if not _begins_like_gguf(path):
        raise BadRequest("supplied file was not in GGUF format", param="files")
    try:
        return GgufFile(name=name, header=read_header(path))
    except InvalidModel as why:
        raise InvalidModel(f"{name!r} cannot be used: {why.message}", hint=why.hint) from None


def _kind_of(paths: Mapping[str, Path]) -> Kind:
    names = {name.rpartition("/")[2].lower() for name in paths}
    if "adapter_config.json" in names:
        raise BadRequest("these files are an adapter", hint="give them as adapters", param="files")
    if "genai_config.json" in names:
        return "onnx"
    if any(name.endswith(".xml") and f"{name[:-4]}.bin" in names for name in names):
        return "openvino"
    if any(name.endswith(".safetensors") for name in names):
        return "safetensors"
    if any(_is_gguf(path, name) for name, path in paths.items()):
        return "gguf"
    hint = "a model is a GGUF file, or a folder of safetensors, OpenVINO IR or ONNX Runtime GenAI"
    if any(name.endswith(_PICKLES) for name in names):
        hint = "weights in pickles are refused: they can run code; take them as safetensors"
    raise BadRequest("unknown type", hint=hint, param="files")


def _is_gguf(path: Path, name: str) -> bool:
    return name.lower().endswith(".gguf") or _begins_like_gguf(path)


def _begins_like_gguf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def is_projector(header: Header) -> bool:
    """Whether it is what turns images into input for a model."""
    return header.architecture == "clip" or header.metadata.get("general.type") == "mmproj"


def _refuse_odd_ones(file: GgufFile) -> None:
    if file.header.metadata.get("general.type") == "adapter":
        raise BadRequest(
            f"{file.name!r} is an adapter", hint="give it as adapter to a model", param="files"
        )
    parts = file.header.metadata.get("split.count")
    if isinstance(parts, int) and parts > 1:
        raise BadRequest(
            f"{file.name!r} is one of {parts} parts of a model",
            hint="put them together with llama-gguf-split --merge first",
            param="files",
        )
