"""Makes GGUF files of safetensors folders and of PEFT adapters, with the toolchain's converters.

They run in a process of their own, with their own gguf library, no network, and nobody's code but
theirs. What they would refuse after minutes is refused before they begin.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dimora.core.errors import BadRequest, InvalidModel, NotFound, StorageFull
from dimora.core.types import Progress
from dimora.models.converting import checkpoints, peft_adapters
from dimora.models.converting.base_configs import base_config
from dimora.models.converting.programs import OFFLINE, Program
from dimora.models.formats.file_kinds import require_harmless
from dimora.models.formats.gguf import MAGIC, Header, read_header
from dimora.models.formats.safetensors_file import read_header as read_safetensors
from dimora.models.taking import Taken
from dimora.models.toolchain.installed import Toolchain, require_toolchain
from dimora.storage.blobs import hash_file
from dimora.storage.disk import discard, disk_errors, require_room

if TYPE_CHECKING:
    from dimora.models.store import ModelStore

_PLACE = "the model store"
_LIBRARIES = ("torch", "transformers", "safetensors", "sentencepiece", "google.protobuf")
_STATUS, _ADAPTER_STATUS = "converting model", "converting adapter"
_PERCENT = re.compile(r"Writing: +(\d+)%")
# The last words of a Python program that ended with an error.
_REASON = re.compile(r"(?:[\w.]+(?:Error|Exception)|ERROR:[\w.-]+): *(.+)")
_LEAST_SECONDS, _BYTES_PER_SECOND = 900.0, 2e6
_ADAPTER_LIMIT_BYTES = 1 << 20


async def convert_folder(
    store: ModelStore, files: Mapping[str, str]
) -> AsyncGenerator[Progress | Taken, None]:
    """Make a GGUF blob of a safetensors folder, given as digests by relative name: Progress, then
    one Taken. The weights keep their 16 bits; 32 become 16.

    Raises InvalidModel for an architecture the converter does not know and for a folder that is
    damaged or holds pickles, NotFound when toolchain or libraries are missing, StorageFull.
    """
    toolchain = require_toolchain(store.toolchain_path, "converting safetensors")
    paths = {name: store.blobs.path(digest) for name, digest in files.items()}
    config = await asyncio.to_thread(checkpoints.read_config, paths)
    known = await asyncio.to_thread(checkpoints.known_architectures, toolchain.converters)
    checkpoints.require_architecture(config, known)
    require_libraries()
    weights_bytes = await asyncio.to_thread(checkpoints.require_weights, paths)
    require_room(_directory(store), weights_bytes, _PLACE)
    with tempfile.TemporaryDirectory(prefix="dimora-convert-") as scratch:
        # The converter calls a model that has no name by that of its folder.
        folder = Path(scratch) / "model"
        folder.mkdir()
        checkpoints.link_files(paths, folder)
        conversion = _Conversion(store, toolchain, Path(scratch), _STATUS, weights_bytes)
        words = ["convert_hf_to_gguf.py", str(folder), "--outtype", "auto"]
        async with contextlib.aclosing(conversion.run(words)) as steps:
            async for step in steps:
                yield step


async def convert_adapter(
    store: ModelStore, files: Mapping[str, str], base_digest: str
) -> AsyncGenerator[Progress | Taken, None]:
    """Make a GGUF blob of an adapter for the GGUF model in blob `base_digest`: Progress, then one
    Taken. A GGUF adapter is looked at and taken as it is.

    Raises InvalidModel when it is damaged or does not fit the base, UnsupportedFeature for kinds
    of adapters and bases that cannot be converted, NotFound without the toolchain, StorageFull.
    """
    base = await asyncio.to_thread(read_header, store.blobs.path(base_digest))
    if len(files) == 1:
        (digest,) = files.values()
        header = await asyncio.to_thread(_gguf_header, store.blobs.path(digest))
        if header is not None:
            peft_adapters.require_fit(header, base)
            yield Taken(digest=digest, size_bytes=header.file_bytes)
            return
    toolchain = require_toolchain(store.toolchain_path, "converting an adapter")
    own = _flattened(files)
    paths = {name: store.blobs.path(digest) for name, digest in own.items()}
    said = checkpoints.read_json(paths, peft_adapters.CONFIG, _ADAPTER_LIMIT_BYTES)
    adapter_config = peft_adapters.plain_config(said)
    model_config = base_config(base)
    require_libraries()
    weights = store.blobs.path(own[peft_adapters.WEIGHTS])
    size = await asyncio.to_thread(_checked_adapter, store, own)
    require_room(_directory(store), 2 * size, _PLACE)
    with tempfile.TemporaryDirectory(prefix="dimora-convert-") as scratch:
        folder, base_folder = Path(scratch) / "adapter", Path(scratch) / "base"
        for directory, name, config in (
            (folder, peft_adapters.CONFIG, adapter_config),
            (base_folder, checkpoints.CONFIG, model_config),
        ):
            directory.mkdir()
            (directory / name).write_bytes(msgspec.json.encode(config))
        (folder / peft_adapters.WEIGHTS).symlink_to(weights.absolute())
        conversion = _Conversion(store, toolchain, Path(scratch), _ADAPTER_STATUS, size, base=base)
        words = ["convert_lora_to_gguf.py", str(folder), "--base", str(base_folder)]
        async with contextlib.aclosing(conversion.run([*words, "--outtype", "f16"])) as steps:
            async for step in steps:
                yield step


class _Conversion:
    """One run of a converter, to a blob. An adapter has a `base` it has to fit."""

    def __init__(
        self,
        store: ModelStore,
        toolchain: Toolchain,
        scratch: Path,
        status: str,
        size_bytes: int,
        base: Header | None = None,
    ) -> None:
        self._store = store
        self._toolchain = toolchain
        self._scratch = scratch
        self._status = status
        self._size_bytes = size_bytes
        self._base = base
        self._made = store.blobs.scratch_path()

    async def run(self, words: list[str]) -> AsyncGenerator[Progress | Taken, None]:
        """`words` are the script and its arguments."""
        script, *arguments = words
        argv = [sys.executable, "-P", "-m", "dimora.models.converting.run_converter"]
        argv += [str(self._toolchain.converters), script, *arguments, "--outfile", str(self._made)]
        program = Program(
            argv,
            limit_seconds=_LEAST_SECONDS + self._size_bytes / _BYTES_PER_SECOND,
            # A home of the libraries without anything in it: no code of other models either.
            environment={**OFFLINE, "HF_HOME": str(self._scratch / "cache")},
        )
        try:
            with disk_errors(_PLACE):
                yield self._told(0)
                async with contextlib.aclosing(program.lines()) as lines:
                    async for line in lines:
                        if found := _PERCENT.search(line):
                            yield self._told(self._size_bytes * int(found[1]) // 100)
                if program.status != 0:
                    raise self._failure(program)
                taken = await asyncio.to_thread(self._adopt)
        finally:
            discard(self._made)
        yield self._told(self._size_bytes)
        yield taken

    def _told(self, completed: int) -> Progress:
        return Progress(
            status=self._status, completed_bytes=completed, total_bytes=self._size_bytes
        )

    def _failure(self, program: Program) -> InvalidModel | StorageFull:
        if "No space left on device" in program.said:
            return StorageFull(f"there is no room left for {_PLACE}", hint="free space there")
        reasons = [found[1] for line in program.last_lines if (found := _REASON.match(line))]
        why = "it took too long" if program.timed_out else (reasons or ["it said nothing"])[-1]
        for private in (self._made, self._scratch, self._toolchain.root, self._store.root):
            why = why.replace(str(private), "...")
        return InvalidModel(
            f"the converter cannot convert this: {why[:300]}",
            hint="files of the folder may be missing, or newer than the toolchain",
            code="conversion_failed",
        )

    def _adopt(self) -> Taken:
        header = read_header(self._made)
        if self._base is not None:
            peft_adapters.require_fit(header, self._base)
        digest = hash_file(self._made)
        self._store.blobs.adopt(self._made, digest)
        self._store.remembered.note_verified(digest, self._store.blobs.path(digest))
        return Taken(digest=digest, size_bytes=header.file_bytes)


def require_libraries(
    purpose: str = "converting", added: tuple[str, ...] = (), extra: str = "convert"
) -> None:
    """Raises NotFound when what the converters import, or what is `added`, is not installed."""
    missing = [name for name in (*_LIBRARIES, *added) if not _is_here(name)]
    if missing:
        raise NotFound(
            f"{purpose} needs {', '.join(missing)}, which {_verb(missing)} not installed",
            code="libraries_missing",
            hint=f'pip install "dimora[{extra}]"',
        )


def _is_here(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _verb(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _directory(store: ModelStore) -> Path:
    store.blobs.prepare()
    return store.blobs.directory


def _gguf_header(path: Path) -> Header | None:
    """The header of a GGUF, None for other files."""
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            return None
    return read_header(path)


def _flattened(files: Mapping[str, str]) -> dict[str, str]:
    """The files by their last names. Raises BadRequest when one that is needed is missing."""
    own = {name.rpartition("/")[2]: digest for name, digest in files.items()}
    for name in (peft_adapters.CONFIG, peft_adapters.WEIGHTS):
        if name not in own:
            raise BadRequest(
                f"the adapter has no {name}",
                hint="an adapter is one GGUF file, or a PEFT folder with safetensors",
                param="adapters",
            )
    return own


def _checked_adapter(store: ModelStore, own: Mapping[str, str]) -> int:
    for name, digest in own.items():
        require_harmless(store.blobs.path(digest), name)
    return read_safetensors(store.blobs.path(own[peft_adapters.WEIGHTS])).file_bytes
