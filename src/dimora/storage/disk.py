"""What the disk says, in the house's words: errors, private directories, durable renames."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import time
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from dimora.core.errors import ConfigurationError, InternalError, InvalidModel, StorageFull

_TEMPORARY = ".dimora-part"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_UNKNOWN = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
_BROKEN = frozenset({errno.EIO, errno.ENXIO, errno.ENODEV, getattr(errno, "ESTALE", errno.EIO)})


def is_failure(why: OSError) -> bool:
    """Whether the disk itself fails, so that nothing can be said of what is on it."""
    return why.errno in _BROKEN


@contextlib.contextmanager
def disk_errors(place: str) -> Iterator[None]:
    """Turns a full, forbidden or failing disk into StorageFull, ConfigurationError or
    InternalError; `place` is a word for people such as `the model store`, never a path."""
    try:
        yield
    except OSError as why:
        if why.errno in _FULL:
            raise StorageFull(
                f"there is no room left for {place}",
                hint="free space on that disk and try again; what is complete is kept",
            ) from why
        if why.errno in _FORBIDDEN:
            raise ConfigurationError(
                f"{place} cannot be written: {os.strerror(why.errno)}",
                hint="check the owner and rights of that directory",
            ) from why
        if is_failure(why):
            raise InternalError(
                f"the disk of {place} failed: {why.strerror}",
                code="disk_failed",
                hint="look after that disk; `dimora verify` tells what it did to the models",
            ) from why
        raise


def open_plain(path: Path) -> BufferedReader:
    """Open a file to read, and never a pipe or device, which might give bytes without end.

    Raises InvalidModel when it is no plain file, OSError.
    """
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 -- the caller closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise InvalidModel(f"{path.name!r} is not a plain file")
    return file


def _without_waiting(path: str, flags: int) -> int:
    # Opening a pipe to read would wait until somebody writes into it.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def make_private_directory(path: Path) -> None:
    """Make `path` and its parents, for the owner only; what exists keeps its rights.

    What is made is on the disk when this returns: a file in it is worth no more than its name.
    """
    if path.is_dir():
        return
    make_private_directory(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    settle_directory(path.parent)


def require_room(path: Path, needed_bytes: int, place: str) -> None:
    """Raises StorageFull when the disk of the directory `path` has less than `needed_bytes`."""
    free = shutil.disk_usage(path).free
    if free < needed_bytes:
        raise StorageFull(
            f"{place} needs {needed_bytes / 1e6:.1f} MB more, and {free / 1e6:.1f} MB are free",
            hint="free space on that disk and try again",
        )


def write_all(file: int, data: bytes) -> None:
    """Write to an open file without a buffer, which may take less than all at a time."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def settle_file(file: int) -> None:
    """Wait until what was written to an open file is on the disk."""
    os.fsync(file)


def settle_directory(path: Path) -> None:
    """Wait until the names in a directory are on the disk; some systems cannot, and need not."""
    if os.name == "nt":
        return
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    except OSError as why:
        if why.errno not in _UNKNOWN:
            raise
    finally:
        os.close(directory)


def open_private(path: str, flags: int) -> int:
    """An `opener` for files that only their owner may read."""
    return os.open(path, flags, 0o600)


def discard(path: Path) -> None:
    """Remove what was not finished, if it can be. A sweep takes what a failing disk keeps, and the
    error that is on its way tells more than one of this would."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def temporary_for(path: Path) -> Path:
    """A file beside `path` for what will become it."""
    return path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}{_TEMPORARY}")


def is_temporary(name: str) -> bool:
    """Whether a file of this name was begun by `temporary_for`, by this or another process."""
    return name.startswith(".") and name.endswith(_TEMPORARY)


def write_whole(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write a small file so that readers see the old or the new one, never a part.

    `mode` are its rights, of which the umask takes away.
    """
    temporary = temporary_for(path)
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(data)
            file.flush()
            settle_file(file.fileno())
        temporary.replace(path)
    except BaseException:
        discard(temporary)
        raise
    settle_directory(path.parent)


def sweep_temporaries(directory: Path, *, grace_seconds: float) -> int:
    """Remove files of `temporary_for` that nobody finished in that time; gives how many."""
    removed = 0
    with contextlib.suppress(OSError):
        for path in directory.iterdir():
            with contextlib.suppress(OSError):
                if is_temporary(path.name) and time.time() - path.stat().st_mtime >= grace_seconds:
                    path.unlink()
                    removed += 1
    return removed
