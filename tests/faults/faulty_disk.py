"""The program on a disk that fails at the operation a test names.

`file_faults.c` does the failing, inside the program and the programs it starts; what is here builds
it, tells it what to do, and runs the program.
"""

from __future__ import annotations

import contextlib
import enum
import json
import mmap
import os
import selectors
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
_FIELDS = struct.Struct("=qqqiiii2048s2048s64s1024s8320s")
# Less than a program waits for a lock.
_PATIENCE_SECONDS = 25.0


class Mode(enum.IntEnum):
    """As in file_faults.c: fail once, fail from there on, die before it, die in the middle."""

    NOTE = 1
    ONCE = 2
    ONWARDS = 3
    KILL = 4
    TEAR = 5


class Fault(NamedTuple):
    """`at` is the number of the operation, from 1; `error` an errno.

    `name` and `part` let only operations of that name count, and with that in their path.
    """

    mode: Mode
    at: int = 0
    error: int = 0
    name: str = ""
    part: str = ""


class Operation(NamedTuple):
    """What the program did to a file; `kind` is looks, changes or takes (room on the disk)."""

    number: int
    name: str
    kind: str
    path: str
    other: str


class Ended(NamedTuple):
    """`status` is negative for a signal; `hit` is the first operation that failed, if one did."""

    status: int
    said: str
    hit: Operation | None = None


def compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc")


def build(directory: Path) -> Path:
    """The library to be loaded before the program."""
    library = directory / "file_faults.so"
    argv = [compiler() or "cc", "-shared", "-fPIC", "-O1", "-o", str(library)]
    subprocess.run([*argv, str(HERE / "file_faults.c"), "-ldl"], check=True, timeout=120)
    return library


class FaultyProgram:
    """Runs `dimora` with faults in the files below `root`, one run after another."""

    def __init__(self, library: Path, directory: Path, root: Path) -> None:
        self._root, self._directory = root, directory
        self._log, self._told = directory / "operations", directory / "said"
        control = directory / "control"
        control.write_bytes(bytes(_FIELDS.size))
        with control.open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), _FIELDS.size)
        # What another program needs in its environment to have the same disk.
        self.preloaded = {"LD_PRELOAD": str(library), "FILE_FAULTS": str(control)}
        self._program = subprocess.Popen(
            [sys.executable, str(HERE / "forked_program.py")],
            env={**os.environ, **self.preloaded},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._modules: list[str] = []

    def close(self) -> None:
        self._program.kill()
        self._program.communicate()
        self._control.close()

    def learn(self, argv: Sequence[str], environment: Mapping[str, str]) -> Ended:
        """Run once without faults; what was imported need not be from now on."""
        learned = self._directory / "learned"
        self.set(None)
        ended = self._run(argv, environment, learned=str(learned))
        self._modules = learned.read_text().split()
        return ended

    def operations(
        self, argv: Sequence[str], environment: Mapping[str, str]
    ) -> tuple[Ended, list[Operation]]:
        """Run without faults, and tell every operation."""
        ended = self.run(argv, environment, Fault(Mode.NOTE))
        return ended, self.noted()

    def noted(self) -> list[Operation]:
        """The operations since the last fault was set, where that was NOTE."""
        return [_operation(line) for line in self._log.read_text().splitlines()]

    def run(
        self, argv: Sequence[str], environment: Mapping[str, str], fault: Fault | None = None
    ) -> Ended:
        self.set(fault)
        return self._run(argv, environment)

    def set(self, fault: Fault | None) -> None:
        """What shall happen in the programs that run from now on."""
        mode, at, error, *only = fault or (0, 0, 0, "", "")
        texts = [os.fsencode(text) for text in (self._root, self._log, *only)]
        self._log.unlink(missing_ok=True)
        self._control[:] = _FIELDS.pack(0, at, 0, mode, error, 0, 0, *texts, b"")

    def _run(self, argv: Sequence[str], environment: Mapping[str, str], **more: str) -> Ended:
        order = {
            "argv": argv,
            "environment": dict(environment),
            "directory": str(self._directory),
            "told": str(self._told),
            "modules": self._modules,
            **more,
        }
        self._modules = []
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.write(json.dumps(order) + "\n")
        self._program.stdin.flush()
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._program.stdout, selectors.EVENT_READ)
            if not waiting.select(_PATIENCE_SECONDS):
                raise TimeoutError(f"dimora {argv[0]} does not end: {self._told.read_text()}")
        status = int(self._program.stdout.readline())
        line = _FIELDS.unpack_from(self._control)[-1].partition(b"\0")[0].decode().rstrip("\n")
        hit = _operation(line) if line else None
        return Ended(status, self._told.read_text(errors="replace"), hit)


def _operation(line: str) -> Operation:
    number, name, kind, path, other = line.split("\t")
    return Operation(int(number), name, kind, path, other)


@contextlib.contextmanager
def faulty_program(library: Path, directory: Path, root: Path) -> Iterator[FaultyProgram]:
    program = FaultyProgram(library, directory, root)
    try:
        yield program
    finally:
        program.close()
