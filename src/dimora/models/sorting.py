"""Tells what the files of a recipe are, by their names and their headers, before anything is made.

Nothing slow and nothing that could run code: a GGUF's header is read, and no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import msgspec

from dimora.core.errors import BadRequest, InvalidModel
from dimora.models.file_kinds import require_harmless
from dimora.models.gguf import MAGIC, Header, read_header
from dimora.models.names import is_relative_path
from dimora.models.safetensors_file import read_header as read_safetensors

if TYPE_CHECKING:
    from dimora.models.store import ModelStore

# What a set of files is: one or two GGUF files, weights to convert, or a folder kept as it is.
Kind = Literal["gguf", "safetensors", "openvino", "onnx"]

FILES_AT_MOST = 4096
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


class GgufFile(msgspec.Struct, frozen=True, kw_only=True):
    """A GGUF in the store; `name` is what its bringer calls it."""

    name: str
    digest: str
    size_bytes: int
    header: Header


class Sorted(msgspec.Struct, frozen=True, kw_only=True):
    """`files` are all of them by name; of GGUF files the one with weights and its projector."""

    kind: Kind
    files: dict[str, str]
    weights: GgufFile | None = None
    projector: GgufFile | None = None


def sort_files(store: ModelStore, files: Mapping[str, str]) -> Sorted:
    """What the files of a model are; blocks while blobs that were never checked are hashed.

    Raises BadRequest in Ollama's words, InvalidModel for a GGUF that is damaged.
    """
    require_files(store, files, "files")
    for name, digest in files.items():
        require_harmless(store.blobs.path(digest), name)
    kind = _kind_of(store, files)
    if kind != "gguf":
        _require_harmless(store, files)
        return Sorted(kind=kind, files=dict(files))
    found: dict[str, GgufFile] = {}
    for name, digest in files.items():
        if _is_gguf(store, name, digest):
            file = read_gguf(store, name, digest)
            role = "projector" if is_projector(file.header) else "weights"
            _refuse_odd_ones(file)
            if role in found:
                raise BadRequest(
                    f"{name!r} and {found[role].name!r} are both {role}: a model has one of each",
                    param="files",
                )
            found[role] = file
    return Sorted(kind="gguf", files=dict(files), **found)


def _require_harmless(store: ModelStore, files: Mapping[str, str]) -> None:
    """Raises InvalidModel for a pickle, archive or program among the files, under any name, and for
    safetensors that are damaged."""
    for name, digest in files.items():
        path = store.blobs.path(digest)
        kind = require_harmless(path, name)
        if kind == "safetensors" or name.lower().endswith(".safetensors"):
            read_safetensors(path)


def sort_adapter(store: ModelStore, files: Mapping[str, str]) -> GgufFile | None:
    """The adapter where it is a GGUF; None for the files of a PEFT folder.

    Raises BadRequest for anything else, InvalidModel.
    """
    require_files(store, files, "adapters")
    for name, digest in files.items():
        require_harmless(store.blobs.path(digest), name)
    names = {name.rpartition("/")[2] for name in files}
    if "adapter_config.json" in names and any(name.endswith(".safetensors") for name in names):
        _require_harmless(store, files)
        return None
    found = [read_gguf(store, n, d) for n, d in files.items() if _is_gguf(store, n, d)]
    if len(found) != 1 or len(files) != 1:
        raise BadRequest(
            "unknown type",
            hint="an adapter is one GGUF, or adapter_config.json and adapter_model.safetensors",
            param="adapters",
        )
    if found[0].header.metadata.get("general.type") != "adapter":
        raise BadRequest(f"{found[0].name!r} is a model and no adapter", param="adapters")
    return found[0]


def require_files(store: ModelStore, files: Mapping[str, str], param: str) -> None:
    """Raises BadRequest unless each name is a safe one and each digest that of a blob in the store,
    whose bytes are right."""
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


def read_gguf(store: ModelStore, name: str, digest: str) -> GgufFile:
    """Raises BadRequest when it is none, InvalidModel when it is damaged."""
    path = store.blobs.path(digest)
    if not _begins_like_gguf(store, digest):
        raise BadRequest("supplied file was not in GGUF format", param="files")
    try:
        header = read_header(path)
    except InvalidModel as why:
        raise InvalidModel(f"{name!r} cannot be used: {why.message}", hint=why.hint) from None
    return GgufFile(name=name, digest=digest, size_bytes=header.file_bytes, header=header)


def _kind_of(store: ModelStore, files: Mapping[str, str]) -> Kind:
    names = {name.rpartition("/")[2].lower() for name in files}
    if "adapter_config.json" in names:
        raise BadRequest("these files are an adapter", hint="give them as adapters", param="files")
    if "genai_config.json" in names:
        return "onnx"
    if any(name.endswith(".xml") and f"{name[:-4]}.bin" in names for name in names):
        return "openvino"
    if any(name.endswith(".safetensors") for name in names):
        return "safetensors"
    if any(_is_gguf(store, name, digest) for name, digest in files.items()):
        return "gguf"
    pickled = any(name.endswith(_PICKLES) for name in names)
    hint = "weights in pickles are refused: they can run code; take them as safetensors"
    raise BadRequest("unknown type", hint=hint if pickled else "", param="files")


def _is_gguf(store: ModelStore, name: str, digest: str) -> bool:
    return name.lower().endswith(".gguf") or _begins_like_gguf(store, digest)


def _begins_like_gguf(store: ModelStore, digest: str) -> bool:
    with store.blobs.path(digest).open("rb") as file:
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
