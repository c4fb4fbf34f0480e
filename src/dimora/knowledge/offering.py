"""Files and folders that people name, as files that may be taken in."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path

import msgspec

from dimora.core.errors import BadRequest, NotFound
from dimora.documents.kinds import ending_of, known_endings
from dimora.documents.refusals import too_large
from dimora.tasks.knowing import Offered

_BLOCK_BYTES = 2**20


def offers_of(paths: Sequence[str]) -> list[Offered]:
    """The files there, by name, each once. What a folder has in it that is hidden, leads out of it
    or is of no type that can be read is passed over.

    Raises NotFound, OSError.
    """
    found: dict[str, Offered] = {}
    for text in paths:
        # Names follow links: a folder that is one is known by the name it was given.
        path = Path(os.path.abspath(Path(text).expanduser()))  # noqa: PTH100
        if path.is_dir():
            for one in _in_folder(path):
                found.setdefault(one.path, one)
        elif path.exists():
            found.setdefault(str(path), _offered(path, path.name, ""))
        else:
            raise NotFound(f"there is no file or folder {text!r}", code="file_not_found")
    return sorted(found.values(), key=lambda one: (one.name, one.path))


def _in_folder(folder: Path) -> Iterator[Offered]:
    endings = known_endings()
    real = folder.resolve()
    for directory, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in sorted(files):
            path = Path(directory, name)
            if name.startswith(".") or ending_of(name) not in endings or not _is_within(path, real):
                continue
            inner = path.relative_to(folder).as_posix()
            yield _offered(path, f"{folder.name}/{inner}" if folder.name else inner, str(folder))


def _is_within(path: Path, folder: Path) -> bool:
    """Whether it is a file, and one of the folder where it is a link."""
    try:
        return path.is_file() and (not path.is_symlink() or path.resolve().is_relative_to(folder))
    except (OSError, RuntimeError):
        return False


def _offered(path: Path, name: str, folder: str) -> Offered:
    told = path.stat()
    return Offered(
        name=name,
        path=str(path),
        folder=folder,
        size_bytes=told.st_size,
        modified_at=told.st_mtime,
    )


def with_bytes(offered: Offered, most_bytes: int) -> Offered:
    """The file with its bytes and digest, and the time it had when they were read.

    Raises BadRequest for what is no plain file or has more than `most_bytes`, NotFound.
    """
    if offered.path:
        offered = _read(offered, most_bytes)
    digest = offered.digest or hashlib.sha256(offered.data).hexdigest()
    return msgspec.structs.replace(offered, digest=digest, size_bytes=len(offered.data))


def _read(offered: Offered, most_bytes: int) -> Offered:
    with _open(offered.path) as file:
        told = os.fstat(file.fileno())
        if told.st_size > most_bytes:
            most = most_bytes // 2**20
            raise too_large(f"it has {told.st_size // 2**20} MiB, and {most} are read")
        data = file.read(most_bytes)
    return msgspec.structs.replace(offered, data=data, modified_at=told.st_mtime)


def digest_of(offered: Offered) -> str:
    """The sha256 of the file, read block by block."""
    if offered.digest or not offered.path:
        return offered.digest or hashlib.sha256(offered.data).hexdigest()
    digest = hashlib.sha256()
    with _open(offered.path) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _open(path: str) -> BufferedReader:
    try:
        # Opening a pipe to read would wait until somebody writes into it.
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 -- the caller closes it
    except FileNotFoundError:
        raise NotFound("the file is not there any more", code="file_not_found") from None
    except OSError as why:
        raise BadRequest(
            f"the file cannot be opened: {why.strerror}", code="unreadable_document"
        ) from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise BadRequest("this is no plain file", code="unreadable_document")
    return file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
