"""Models that are folders of files: OpenVINO IR, and the folders of ONNX Runtime GenAI.

Tells what a folder is, which of its files belong to the model, and what they say about it. Files
may be hostile: sizes have limits, nothing is unpickled, and no name in them leads out of the
folder. Engines load what passed here.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import msgspec

from dimora.core.errors import BadRequest, InvalidModel
from dimora.models.formats.facts import Facts, count_words, fim_of, in_order, template_abilities
from dimora.models.formats.file_kinds import require_harmless
from dimora.models.formats.folder_graphs import onnx_places, read_onnx, read_openvino
from dimora.models.formats.folder_words import read_words
from dimora.models.manifests import Layer, media_type
from dimora.models.names import is_relative_path
from dimora.tasks.base import ModelDetails

if TYPE_CHECKING:
    from dimora.models.store import ModelStore

IR_MODEL = "openvino_model.xml"
GENAI_CONFIG = "genai_config.json"
_MARKS = {"onnx": GENAI_CONFIG, "openvino": IR_MODEL}
_FILES = 4096
_DEPTH = 4
# What engines read. Code is not among it, nor are pictures and words about the model.
_KEPT = frozenset({".xml", ".bin", ".onnx", ".json", ".jinja", ".txt", ".model", ".tiktoken"})
# What the exporting tool was told, paths of its machine among it; no engine reads it.
_LEFT_OUT = frozenset({"openvino_config.json"})
_LICENSES = ("license", "licence", "copying", "notice")


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """What a folder says; `metadata` is in the words of GGUF."""

    facts: Facts
    metadata: dict[str, Any]

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of a Model that come from the folder."""
        return {
            "architecture": self.facts.details.family,
            "chat_template": self.facts.chat_template,
            "bos_token": self.facts.bos_token,
            "eos_token": self.facts.eos_token,
            "fim": self.facts.fim,
            "metadata": self.metadata,
            "tensor_types": self.facts.tensor_types,
        }


def folder_format(names: Iterable[str]) -> str:
    """What these files are: `openvino`, `onnx` or `safetensors`. Raises InvalidModel."""
    base_names = {PurePosixPath(name).name for name in names}
    for format_, mark in _MARKS.items():
        if mark in base_names:
            return format_
    if "config.json" in base_names and any(n.endswith(".safetensors") for n in base_names):
        return "safetensors"
    raise InvalidModel(
        "the folder is no model that is known here",
        hint=f"OpenVINO IR has {IR_MODEL}, ONNX Runtime GenAI {GENAI_CONFIG}, and weights to be"
        " converted are config.json and *.safetensors",
    )


def folder_roots(names: Iterable[str]) -> list[PurePosixPath]:
    """The folders among these files that are models of their own, of one format."""
    paths = [PurePosixPath(name) for name in names]
    for mark in _MARKS.values():
        if roots := sorted(path.parent for path in paths if path.name == mark):
            return roots
    return []


def may_belong(name: str) -> bool:
    """Whether a file of this name, in the folder of a model, may be part of it."""
    path = PurePosixPath(name)
    if path.name in _LEFT_OUT or any(part.startswith(".") for part in path.parts):
        return False
    # The weights of a graph lie in a file whose name only the graph tells; all begin like this.
    return path.suffix.lower() in _KEPT or ".onnx" in path.name.lower() or _is_license(path)


def _is_license(path: PurePosixPath) -> bool:
    is_text = path.suffix.lower() in ("", ".txt", ".md")
    return is_text and path.name.lower().startswith(_LICENSES)


def pick_files(names: Iterable[str]) -> dict[str, str]:
    """The files that belong to the model: their names in its folder, and how they were given.

    The folder begins where its first file lies, so that a model may be given with what is around
    it. Raises InvalidModel.
    """
    given = list(names)
    _require_names(given)
    if folder_format(given) not in _MARKS:
        raise InvalidModel(
            "weights in safetensors have to be converted first",
            hint="create a model FROM this folder: dimora create NAME -f Modelfile",
        )
    roots = folder_roots(given)
    if len(roots) > 1:
        shown = ", ".join(str(root) for root in roots[:4])
        raise InvalidModel("there are several models in the folder", hint=f"give one of: {shown}")
    picked = {}
    for name in given:
        path = PurePosixPath(name)
        if path.is_relative_to(roots[0]) and not any(p.startswith(".") for p in path.parts):
            picked[str(path.relative_to(roots[0]))] = name
    return picked


def _require_names(names: Collection[str]) -> None:
    """Raises InvalidModel for names that lead out of the folder, or are one on a system that does
    not tell cases apart."""
    if len(names) > _FILES:
        raise InvalidModel(f"a model has at most {_FILES} files")
    seen: set[str] = set()
    for name in names:
        if not is_relative_path(name):
            raise InvalidModel(f"{name[:80]!r} is no name of a file in a folder")
        if name.casefold() in seen:
            raise InvalidModel(f"{name[:80]!r} is there twice, in other cases")
        seen.add(name.casefold())
    for name in names:
        for place in PurePosixPath(name).parents:
            if str(place).casefold() in seen:
                raise InvalidModel(f"{str(place)[:80]!r} is both a file and a folder")


def read_folder(files: Mapping[str, Path]) -> Folder:
    """Check every file of a model, and tell what they say; `files` are those that are kept.

    Weights are never read, so it is quick for large models too. Raises InvalidModel, OSError.
    """
    _require_names(files)
    format_ = folder_format(files)
    words = read_words(files, format_)
    graphs = read_openvino(files) if format_ == "openvino" else read_onnx(files)
    for name, path in files.items():
        if name not in graphs.raw:
            require_harmless(path, name)
    fim = () if graphs.embeds else fim_of(words.added_tokens)
    found = {"embedding"}
    if not graphs.embeds:
        found = {"completion", *template_abilities(words.chat_template)}
        found |= {"insert"} if fim else set()
    details = ModelDetails(
        format=format_,
        family=words.architecture,
        families=(words.architecture,) if words.architecture else (),
        parameter_size=count_words(graphs.parameters) if graphs.parameters else "",
        quantization_level=graphs.quantization,
        context_length=words.context_length,
        embedding_length=words.embedding_length,
    )
    facts = Facts(
        details=details,
        capabilities=in_order(found),
        bos_token=words.bos_token,
        eos_token=words.eos_token,
        fim=fim,
        tensor_types=graphs.tensor_types,
        chat_template=words.chat_template,
    )
    return Folder(
        facts=facts, metadata=words.metadata | {"general.parameter_count": graphs.parameters}
    )


def folder_layers(store: ModelStore, files: Mapping[str, str]) -> list[Layer]:
    """The layers of a model of these files: digests of blobs in the store by relative name.

    What no engine reads is left out; licence texts become layers of their own kind. Blocks.
    Raises InvalidModel, BadRequest.
    """
    digests = {name: files[given] for name, given in pick_files(files).items()}
    paths = {name: store.blobs.path(digest) for name, digest in digests.items()}
    missing = next((name for name, path in paths.items() if not path.is_file()), None)
    if missing is not None:
        raise BadRequest(f"the file {missing[:80]!r} is not here", code="blob_not_found")
    kinds = sort_files(paths)
    read_folder({name: paths[name] for name, kind in kinds.items() if kind == "file"})
    return [
        Layer(
            media_type=media_type(kind),
            digest=digests[name],
            size=paths[name].stat().st_size,
            name=name if kind == "file" else "",
        )
        for name, kind in kinds.items()
    ]


def sort_files(paths: Mapping[str, Path]) -> dict[str, str]:
    """What the files of a model's folder are kept as, `file` or `license`; others are left out.

    Raises InvalidModel, OSError.
    """
    places = onnx_places(paths) if GENAI_CONFIG in paths else frozenset()
    kinds: dict[str, str] = {}
    for name in sorted(paths):
        path = PurePosixPath(name)
        if _is_license(path):
            kinds[name] = "license"
        elif path.name not in _LEFT_OUT and (path.suffix.lower() in _KEPT or name in places):
            kinds[name] = "file"
    return kinds


def digest_of(layers: Iterable[Layer]) -> str:
    """One digest for all files of a model: of their names and digests."""
    lines = sorted(f"{layer.name}\0{layer.digest}\n" for layer in layers)
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def files_below(directory: Path) -> dict[str, Path]:
    """All files of a directory on this machine by relative name; links are followed to files only.

    Raises InvalidModel when there are too many to be a model.
    """
    found: dict[str, Path] = {}
    for place, directories, names in os.walk(directory):
        relative = Path(place).relative_to(directory)
        directories[:] = sorted(
            d for d in directories if not d.startswith(".") and len(relative.parts) + 1 < _DEPTH
        )
        for name in sorted(names):
            path = Path(place) / name
            shown = (relative / name).as_posix()
            if not name.startswith(".") and is_relative_path(shown) and path.is_file():
                found[shown] = path.resolve()
            if len(found) > _FILES:
                raise InvalidModel(f"the folder has more than {_FILES} files: it is no model")
    return found


def read_license(path: Path, limit_bytes: int = 1 << 20) -> str:
    """A licence's text, as far as it is short enough to be one."""
    with path.open("rb") as file:
        return file.read(limit_bytes).decode("utf-8", "replace")
