"""Files and folders that people name, as files that may be taken in."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path, PurePath

import msgspec

from dimora.core.errors import BadRequest, Conflict, NotFound
from dimora.documents.kinds import ending_of, known_endings
from dimora.documents.refusals import too_large
from dimora.tasks.knowing import Offered

_BLOCK_BYTES = 2**20
# What is not there, or a link that leads nowhere; all else may be there again the next time.
_NOTHING_THERE = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP))


def offers_of(paths: Sequence[str]) -> list[Offered]:
    """The files there, by name, each once, and with an error what could not be looked at. What a
    folder has in it that is hidden, leads out of it or is of no type that can be read is passed
    over.

    Raises NotFound, Conflict for two files that would be known by one name.
    """
    found: dict[str, Offered] = {}
    for text in paths:
        path = whole_path(text)
        try:
            is_folder = stat.S_ISDIR(path.stat().st_mode)
            offers = _in_folder(path) if is_folder else [_offered(path, path.stat(), None)]
        except OSError as why:
            if why.errno in _NOTHING_THERE:
                told = f"there is no file or folder {text!r}"
                raise NotFound(told, code="file_not_found") from None
            offers = [_unreadable(path, why, None)]
        for one in offers:
            # What cannot be looked at is kept under each of its names.
            found.setdefault(one.name if one.error else one.path, one)
    _refuse_doubles(one for one in found.values() if not one.error)
    return sorted(found.values(), key=lambda one: (one.name, one.path))


def whole_path(text: str) -> Path:
    """Links are not followed: a folder that is one is known by the name it was given."""
    return Path(os.path.abspath(Path(text).expanduser()))  # noqa: PTH100


def _refuse_doubles(offers: Iterable[Offered]) -> None:
    names: dict[str, Offered] = {}
    for one in offers:
        other = names.setdefault(one.name, one)
        if other is not one:
            raise Conflict(
                f"{other.path!r} and {one.path!r} would both be known as {one.name!r}",
                hint="add the folder they are in, or put one of them into another collection",
            )


def _in_folder(folder: Path) -> list[Offered]:
    endings = known_endings()
    real = folder.resolve()
    found: list[Offered] = []

    def note(why: OSError) -> None:
        found.append(_unreadable(Path(why.filename or folder), why, folder))

    for directory, names, files in os.walk(folder, onerror=note):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in sorted(files):
            path = Path(directory, name)
            if name.startswith("."):
                continue
            try:
                # Whatever its ending is: a folder that cannot be looked at is among the files.
                told = _told_within(path, real)
            except OSError as why:
                found.append(_unreadable(path, why, folder))
                continue
            if told and ending_of(name) in endings:
                found.append(_offered(path, told, folder))
    return found


def _told_within(path: Path, folder: Path) -> os.stat_result | None:
    """None for what is no file, or is a link out of the folder. Raises OSError where nobody can
    tell."""
    try:
        if path.is_symlink() and not path.resolve().is_relative_to(folder):
            return None
        told = path.stat()
    except RuntimeError:  # a link to itself
        return None
    except OSError as why:
        if why.errno in _NOTHING_THERE:
            return None
        raise
    return told if stat.S_ISREG(told.st_mode) else None


def _offered(path: Path, told: os.stat_result, folder: Path | None) -> Offered:
    return Offered(
        name=_name(path, folder),
        path=str(path),
        folder=storable_path(folder) if folder else "",
        size_bytes=told.st_size,
        modified_at=told.st_mtime,
    )


def _unreadable(path: Path, why: OSError, folder: Path | None) -> Offered:
    return Offered(
        name=_name(path, folder),
        path=str(path),
        folder=storable_path(folder) if folder else "",
        error=why.strerror or "it cannot be read",
    )


def _name(path: Path, folder: Path | None) -> str:
    inner = (folder.name, *path.relative_to(folder).parts) if folder else (path.name,)
    return "/".join(_storable(part) for part in inner if part)


def storable_path(path: Path) -> str:
    """As documents of this folder are told of; see Offered."""
    return str(PurePath(*map(_storable, path.parts)))


def _storable(part: str) -> str:
    """A part of a path as text that can be kept and sent. What is no UTF-8 in it is replaced, and
    a digest keeps it from being another's."""
    try:
        part.encode()
    except UnicodeEncodeError:
        raw = os.fsencode(part)
        shown = PurePath(raw.decode(errors="replace"))
        return f"{shown.stem}-{hashlib.sha256(raw).hexdigest()[:8]}{shown.suffix}"
    return part


def with_bytes(offered: Offered, most_bytes: int) -> Offered:
    """The file with its bytes and digest, and the time it had when they were read.

    Raises BadRequest for what is no plain file or has more than `most_bytes`, NotFound.
    """
    if offered.path:
        offered = _read(offered, most_bytes)
    digest = offered.digest or hashlib.sha256(offered.data).hexdigest()
    return msgspec.structs.replace(offered, digest=digest, size_bytes=len(offered.data))


def _read(offered: Offered, most_bytes: int) -> Offered:
    with _opened(offered.path) as file:
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
    with _opened(offered.path) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _opened(path: str) -> Iterator[BufferedReader]:
    try:
        # Opening a pipe to read would wait until somebody writes into it.
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BadRequest("this is no plain file", code="unreadable_document")
            yield file
    except FileNotFoundError:
        raise NotFound("the file is not there any more", code="file_not_found") from None
    except OSError as why:
        raise BadRequest(
            f"the file cannot be read: {why.strerror}", code="unreadable_document"
        ) from None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
