"""Quantizes a GGUF model of the store: kinds without a K by Python alone, the others by the
toolchain's llama-quantize. Either way the same tensors get the same formats."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dimora.core.errors import BadRequest, InternalError, InvalidModel, NotFound
from dimora.core.types import Progress
from dimora.models.converting.last_words import Failure, error_of
from dimora.models.converting.programs import Program
from dimora.models.converting.quantize_file import Step
from dimora.models.converting.tensor_choice import KINDS
from dimora.models.formats.facts import facts_of
from dimora.models.formats.gguf import Header, read_header
from dimora.models.taking import Taken
from dimora.models.toolchain.installed import HINT, find_toolchain
from dimora.storage.blobs import hash_file
from dimora.storage.disk import discard, disk_errors, require_room

if TYPE_CHECKING:
    from dimora.models.store import ModelStore

_PLACE = "the model store"
# What llama-quantize makes without an importance matrix.
TOOLCHAIN_KINDS = (
    "Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K IQ3_S IQ3_M IQ4_XS IQ4_NL"
).split()
_SHORT = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}
_WANTS_MATRIX = re.compile(r"IQ[12]_\w+|IQ3_XX?S|Q2_K_S")
_SOURCES = frozenset({"F32", "F16", "BF16"})
_INTEGERS = frozenset({"I8", "I16", "I32", "I64"})
_FLOATS = {"F32": 4, "F16": 2, "BF16": 2}
_TENSOR = re.compile(r"\[ *(\d+)/ *(\d+)\]")
# Slower than any machine is; a process that hangs ends all the same.
_LEAST_SECONDS, _BYTES_PER_SECOND = 600.0, 1e6


async def quantize(
    store: ModelStore,
    digest: str,
    size_bytes: int,
    kind: str,
    warnings: list[str] | None = None,
) -> AsyncGenerator[Progress | Taken, None]:
    """Make a blob of the model in blob `digest`, in another format: Progress, then one Taken.

    `kind` in any case. What is not as good as it could be is added to `warnings`.

    Raises BadRequest for a kind there is not and for a source that is quantized already, NotFound
    without the toolchain where it is needed, InvalidModel, StorageFull.
    """
    wanted = named_kind(kind)
    path = store.blobs.path(digest)
    header = await asyncio.to_thread(_checked_header, store, digest)
    source = source_kind(header, wanted, warnings)
    status = f"quantizing {source} model to {wanted}"
    program = _program_for(store, path, size_bytes, wanted, source)
    made = store.blobs.scratch_path()
    with disk_errors(_PLACE):
        require_room(store.blobs.directory, _needed_bytes(size_bytes, wanted), _PLACE)
        try:
            yield _told(status, digest, 0, size_bytes)
            async with contextlib.aclosing(_run(program(made), size_bytes)) as steps:
                async for completed in steps:
                    yield _told(status, digest, completed, size_bytes)
            taken = await asyncio.to_thread(_adopt, store, made, wanted)
        finally:
            discard(made)
    yield _told(status, digest, size_bytes, size_bytes)
    yield taken


def named_kind(kind: str) -> str:
    """The kind as it is written. Raises BadRequest, naming those there are."""
    name = kind.strip().upper()
    name = _SHORT.get(name, name)
    if name in KINDS or name in TOOLCHAIN_KINDS:
        return name
    if _WANTS_MATRIX.fullmatch(name):
        raise BadRequest(
            f"{name} needs an importance matrix, which Dimora cannot make",
            hint="the smallest kinds without one are Q2_K and IQ3_S",
            param="quantize",
        )
    known = ", ".join([*KINDS, *(k for k in TOOLCHAIN_KINDS if k not in KINDS)])
    raise BadRequest(
        f"unknown quantization type {kind[:40]!r}", hint=f"choose one of {known}", param="quantize"
    )


def _checked_header(store: ModelStore, digest: str) -> Header:
    if not store.is_verified(digest) and not store.verify_blob(digest):
        raise InvalidModel(f"blob {digest} is missing or altered", hint="get the model anew")
    return read_header(store.blobs.path(digest))


def source_kind(header: Header, wanted: str, warnings: list[str] | None) -> str:
    """What the source is, in a word. Raises BadRequest when it cannot become what is wanted."""
    present = {tensor.type for tensor in header.tensors if len(tensor.shape) > 1} - _INTEGERS
    told = facts_of(header).details.quantization_level or "/".join(sorted(present))
    quantized = present - _SOURCES
    if quantized - {"Q8_0"}:
        raise BadRequest(
            f"quantization is only supported for F32, F16, BF16 and Q8_0 models, not for {told}",
            hint="begin with the model as it was before",
            param="quantize",
        )
    if told == wanted:
        raise BadRequest(f"the model is {wanted} already", param="quantize")
    if quantized and warnings is not None:
        warnings.append(
            f"quantized from {told}: a source in F16 or BF16 gives a better {wanted} model"
        )
    return told


def _program_for(store: ModelStore, path: Path, size_bytes: int, kind: str, source: str) -> _Making:
    limit = _LEAST_SECONDS + size_bytes / _BYTES_PER_SECOND
    toolchain = find_toolchain(store.toolchain_path) if kind in TOOLCHAIN_KINDS else None
    if toolchain is not None:
        argv = [str(toolchain.program("llama-quantize"))]
        argv += ["--allow-requantize"] if source == "Q8_0" else []
        return _Making(argv, path, kind, limit)
    if kind not in KINDS:
        raise NotFound(
            f"{kind} needs the llama.cpp toolchain, which is not installed",
            code="toolchain_missing",
            hint=f"{HINT}; without it there are {', '.join(KINDS)}",
        )
    return _Making(
        [sys.executable, "-P", "-m", "dimora.models.converting.quantize_file"], path, kind, limit
    )


class _Making:
    """A program that takes source, target and kind."""

    def __init__(self, argv: list[str], path: Path, kind: str, limit_seconds: float) -> None:
        self._argv = argv
        self._path = path
        self._kind = kind
        self._limit_seconds = limit_seconds

    def __call__(self, target: Path) -> Program:
        argv = [*self._argv, str(self._path), str(target), self._kind]
        return Program(argv, limit_seconds=self._limit_seconds)


async def _run(program: Program, size_bytes: int) -> AsyncGenerator[int, None]:
    """Bytes of the source that are done, as they grow. Raises the process's own error."""
    failure: Failure | None = None
    async with contextlib.aclosing(program.lines()) as lines:
        async for line in lines:
            if found := _TENSOR.match(line):
                yield size_bytes * int(found[1]) // max(1, int(found[2]))
            elif line.startswith("{"):
                with contextlib.suppress(msgspec.DecodeError):
                    said = msgspec.json.decode(line, type=Step | Failure)
                    if isinstance(said, Step):
                        yield min(said.completed_bytes, size_bytes)
                    else:
                        failure = said
    if failure is not None:
        raise error_of(failure)
    if program.status != 0:
        late = "it took too long" if program.timed_out else f"status {program.status}"
        raise InternalError(f"quantizing ended without a result ({late})")


def _adopt(store: ModelStore, made: Path, kind: str) -> Taken:
    """The file as a blob, once it reads as what it should be."""
    header = read_header(made)
    if facts_of(header).details.quantization_level.upper() != kind:
        raise InternalError(f"quantizing made a file that does not say it is {kind}")
    size, digest = made.stat().st_size, hash_file(made)
    store.blobs.adopt(made, digest)
    store.remembered.note_verified(digest, store.blobs.path(digest))
    return Taken(digest=digest, size_bytes=size)


def _needed_bytes(size_bytes: int, kind: str) -> int:
    """About what the result will have, on the safe side: the source has two bytes a weight."""
    return size_bytes * _FLOATS.get(kind, 1) // 2 + (1 << 20)


def _told(status: str, digest: str, completed: int, total: int) -> Progress:
    return Progress(
        status=status, digest=digest, completed_bytes=min(completed, total), total_bytes=total
    )
