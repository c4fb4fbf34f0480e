"""The llama.cpp toolchain of a home: which source it is made of, and what of it is installed.

`<root>/<version>/` has the programs in `bin`, the converters, the build's log, and a stamp that is
written last: without it nothing there counts as installed. `toolchain_install` makes it.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import msgspec

from dimora.core.errors import Conflict, NotFound
from dimora.core.processor import processor_features
from dimora.storage.disk import disk_errors, make_private_directory
from dimora.storage.locks import FileLock
from dimora.tasks.base import ToolchainState

STAMP = "toolchain.json"
LOG = "build.log"
HINT = "`dimora toolchain install` builds it here, once, in some minutes"
_EXECUTABLE = ".exe" if sys.platform == "win32" else ""


class Minimum(msgspec.Struct, frozen=True, kw_only=True):
    """The oldest llama.cpp of other origin that is run: its number, or its version without one."""

    build: int
    version: str


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """The source distribution, and what of it is kept; see toolchain.toml."""

    package: str
    version: str
    size_bytes: int
    sha256: str
    folder: str
    commit: str
    parts: tuple[str, ...]
    converters: tuple[str, ...]
    programs: tuple[str, ...]
    unpacked_limit_bytes: int
    needed_bytes: int
    minimum: Minimum

    @property
    def archive_names(self) -> tuple[str, ...]:
        """How the file may be called: names were normalized later than some indexes were made."""
        plain = f"{self.package}-{self.version}.tar.gz"
        return (f"{self.package.replace('-', '_')}-{self.version}.tar.gz", plain)


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """What was built, and how. `processor` tells what the one it was built for could do."""

    version: str
    commit: str
    processor: str
    way: str
    notes: tuple[str, ...] = ()
    built_at: float = 0.0
    seconds: float = 0.0


class Toolchain(msgspec.Struct, frozen=True, kw_only=True):
    """An installed toolchain that can run on this machine."""

    root: Path
    stamp: Stamp

    def program(self, name: str) -> Path:
        """The executable of this name, such as `llama-quantize`."""
        return self.root / "bin" / f"{name}{_EXECUTABLE}"

    @property
    def converters(self) -> Path:
        """The directory with convert_hf_to_gguf.py and what it imports."""
        return self.root / "converters"


def read_pin() -> Pin:
    text = files("dimora.models.toolchain").joinpath("toolchain.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), Pin)


def find_toolchain(root: Path) -> Toolchain | None:
    """The installed toolchain below `root`, the one this version of Dimora asks for if it is there;
    None where there is none that runs on this processor."""
    for directory in _versions(root):
        stamp = read_stamp(directory)
        if stamp is not None and _fits(stamp):
            return Toolchain(root=directory, stamp=stamp)
    return None


def require_toolchain(root: Path, purpose: str) -> Toolchain:
    """Raises NotFound, saying what for and how to get it."""
    found = find_toolchain(root)
    if found is None:
        raise NotFound(
            f"{purpose} needs the llama.cpp toolchain, which is not installed",
            code="toolchain_missing",
            hint=HINT,
        )
    return found


def read_stamp(directory: Path) -> Stamp | None:
    """What is installed in the directory of a version, None when that is not complete."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode((directory / STAMP).read_bytes(), type=Stamp)
    return None


def state_of(root: Path) -> ToolchainState:
    """What people are told of it."""
    pin = read_pin()
    found = find_toolchain(root)
    directory = found.root if found else root / pin.version
    stamp = found.stamp if found else read_stamp(directory)
    if found:
        state = "installed"
    elif stamp:
        state = "for another processor"
    else:
        state = "begun" if directory.is_dir() else "not installed"
    return ToolchainState(
        state=state,
        wanted_version=pin.version,
        version=stamp.version if stamp else "",
        commit=stamp.commit if stamp else "",
        way=stamp.way if stamp else "",
        notes=stamp.notes if stamp else (),
        built_at=stamp.built_at if stamp else 0.0,
        seconds=stamp.seconds if stamp else 0.0,
        size_bytes=_size_of(directory),
        programs=pin.programs if found else (),
    )


def remove_toolchain(root: Path) -> bool:
    """Remove all of it; True when there was something.

    Raises Conflict while it is being installed.
    """
    if not root.is_dir():
        return False
    with disk_errors("the toolchain"), installing(root):
        there = list(_versions(root))
        for directory in there:
            # Without its stamp it counts for nothing, however far the removal comes.
            (directory / STAMP).unlink(missing_ok=True)
            shutil.rmtree(directory)
    return bool(there)


@contextlib.contextmanager
def installing(root: Path) -> Iterator[int]:
    """One installation or removal at a time; gives the lock's descriptor. Raises Conflict."""
    make_private_directory(root)
    lock = FileLock(root / ".lock")
    if not lock.try_acquire():
        raise Conflict(
            "the toolchain is being installed by another process", hint="wait until it is done"
        )
    try:
        yield lock.descriptor
    finally:
        lock.release()


def _fits(stamp: Stamp) -> bool:
    """Whether this processor can do all that the one of the build could."""
    return set(stamp.processor.split()) <= set(processor_features().split())


def _versions(root: Path) -> Iterator[Path]:
    """The directories of versions, the wanted one first."""
    wanted = root / read_pin().version
    if wanted.is_dir():
        yield wanted
    with contextlib.suppress(OSError):
        others = [each for each in root.iterdir() if each.is_dir() and each != wanted]
        yield from sorted(others, reverse=True)


def _size_of(directory: Path) -> int:
    total = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return total
