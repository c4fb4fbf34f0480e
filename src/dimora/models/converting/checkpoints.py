"""Looks at the files of a safetensors folder before they are converted.

What a folder says of itself is read first and costs nothing, so that what cannot be converted is
refused at once; then that all its weights are there, and that nothing in it could run code.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from dimora.core.errors import BadRequest, InvalidModel
from dimora.core.json_text import BAD_JSON
from dimora.models.formats.file_kinds import require_harmless
from dimora.models.formats.safetensors_file import read_header
from dimora.models.names import is_relative_path

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
_CONFIG_LIMIT_BYTES = 2 << 20
# The largest there are have some 14 MB.
_INDEX_LIMIT_BYTES = 24 << 20
# Models in models: where their config lies in that of the whole.
_INNER = ("text_config", "llm_config", "lm_config", "language_config", "thinker_config")
# What converters read. Code is not among it: some of them would run what they find.
_KEPT = frozenset(
    {".json", ".safetensors", ".model", ".txt", ".jinja", ".tiktoken", ".md", ".spm", ".vocab"}
)


class _Index(msgspec.Struct):
    weight_map: dict[str, str] = {}


def read_json(paths: Mapping[str, Path], name: str, limit_bytes: int) -> Any:
    """A JSON object among the files. Raises InvalidModel when it is missing, too large or none."""
    try:
        return msgspec.json.decode(_read(paths, name, limit_bytes), type=dict[str, Any])
    except BAD_JSON:
        raise InvalidModel(f"{name} is not a JSON object") from None


def _read(paths: Mapping[str, Path], name: str, limit_bytes: int) -> bytes:
    if name not in paths:
        raise InvalidModel(f"the folder has no {name}")
    try:
        with paths[name].open("rb") as file:
            data = file.read(limit_bytes + 1)
    except FileNotFoundError:
        raise InvalidModel(f"{name} is not in the store", hint="send it again") from None
    if len(data) > limit_bytes:
        raise InvalidModel(f"{name} has more than {limit_bytes} bytes")
    return data


def read_config(paths: Mapping[str, Path]) -> dict[str, Any]:
    """The folder's config.json. Raises InvalidModel."""
    config: dict[str, Any] = read_json(paths, CONFIG, _CONFIG_LIMIT_BYTES)
    return config


def require_architecture(config: dict[str, Any], known: frozenset[str]) -> str:
    """The architecture a config names. Raises InvalidModel naming it when it is not `known`."""
    named = [name for part in _configs(config) for name in _names(part)]
    if not named:
        raise InvalidModel(f"{CONFIG} names no architecture", hint='its key is "architectures"')
    # A model in a model goes by the inner name, where there is one; converters know some whole.
    for name in (*reversed(named), named[0]):
        if name in known:
            return name
    raise InvalidModel(
        f"models of the architecture {named[0][:80]!r} cannot be converted",
        hint=f"the converter knows {len(known)} architectures; "
        "a GGUF of the model may be found ready made",
        code="unsupported_architecture",
    )


def _configs(config: dict[str, Any]) -> list[dict[str, Any]]:
    inner = [config[key] for key in _INNER if isinstance(config.get(key), dict)]
    return [config, *inner]


def _names(config: dict[str, Any]) -> list[str]:
    names = config.get("architectures")
    return [name for name in names[:1] if isinstance(name, str)] if isinstance(names, list) else []


def known_architectures(converters: Path) -> frozenset[str]:
    """What the converter says it can convert; its code is read, not run."""
    tree = ast.parse((converters / "conversion" / "__init__.py").read_text(encoding="utf-8"))
    for statement in tree.body:
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and statement.target.id == "TEXT_MODEL_MAP"
            and isinstance(statement.value, ast.Dict)
        ):
            keys = (key for key in statement.value.keys if isinstance(key, ast.Constant))
            return frozenset(str(key.value) for key in keys)
    return frozenset()


def require_weights(paths: Mapping[str, Path]) -> int:
    """Bytes of the weights, once every file was looked at. Blocks.

    Raises InvalidModel for pickles and other things that could run code, damaged shards, shards
    that are missing and tensors that are not where the index says.
    """
    shards: dict[str, set[str]] = {}
    # One file may have many names; its header is read once.
    read: dict[Path, set[str]] = {}
    total = 0
    for name, path in paths.items():
        require_harmless(path, name)
        if name.endswith(".safetensors"):
            if path not in read:
                read[path] = {tensor.name for tensor in read_header(path).tensors}
            shards[name] = read[path]
            total += path.stat().st_size
    if not any(name.startswith("model") for name in shards):
        raise InvalidModel("the folder has no weights", hint="they are in model*.safetensors")
    if INDEX in paths:
        _check_index(_read(paths, INDEX, _INDEX_LIMIT_BYTES), shards)
    return total


def _check_index(data: bytes, shards: Mapping[str, set[str]]) -> None:
    try:
        places = msgspec.json.decode(data, type=_Index).weight_map
    except BAD_JSON:
        places = {}
    if not places:
        raise InvalidModel(f"{INDEX} has no weight_map that says where each tensor is")
    for tensor, shard in places.items():
        if shard not in shards:
            raise InvalidModel(
                f"{shard[:80]!r} is missing, which has a part of the model's weights",
                hint="give all files of the folder",
            )
        if tensor not in shards[shard]:
            raise InvalidModel(f"{tensor[:80]!r} is not in {shard!r}, where the index sees it")


def link_files(paths: Mapping[str, Path], folder: Path) -> None:
    """Make the folder a converter reads, of links to blobs; nothing is copied.

    Raises BadRequest for a name that leads out of it.
    """
    for name, path in paths.items():
        if not is_relative_path(name):
            raise BadRequest(f"{name[:80]!r} is no name of a file in a folder", param="files")
        if PurePosixPath(name).suffix.lower() not in _KEPT:
            continue
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(path.absolute())
