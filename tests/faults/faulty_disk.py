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
_FIELDS = struct.Struct("=qqqiiii2048s2048s")
_PATIENCE_SECONDS = 60.0
PRELOADED = "LD_PRELOAD"


class Mode(enum.IntEnum):
    """As in file_faults.c: fail once, fail from there on, die before it, die in the middle."""

    NOTE = 1
    ONCE = 2
    ONWARDS = 3
    KILL = 4
    TEAR = 5


class Fault(NamedTuple):
    """`at` is the number of the operation, from 1; `error` an errno."""

    mode: Mode
    at: int = 0
    error: int = 0


class Operation(NamedTuple):
    """What the program did to a file; `kind` is looks, changes or takes (room on the disk)."""

    number: int
    name: str
    kind: str
    path: str
    other: str


class Ended(NamedTuple):
    """`status` is negative for a signal; `hits` says how often the disk failed."""

    status: int
    said: str
    hits: int


def compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc")


def build(directory: Path) -> Path:
    """The library to be loaded before the program."""
    library = directory / "file_faults.so"
    argv = [compiler() or "cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library)]
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
        self._program = subprocess.Popen(
            [sys.executable, str(HERE / "forked_program.py")],
            env={**os.environ, PRELOADED: str(library), "FILE_FAULTS": str(control)},
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
        ended = self._run(argv, environment, learned=str(learned))
        self._modules = learned.read_text().split()
        return ended

    def operations(
        self, argv: Sequence[str], environment: Mapping[str, str]
    ) -> tuple[Ended, list[Operation]]:
        """Run without faults, and tell every operation."""
        self._log.unlink(missing_ok=True)
        ended = self.run(argv, environment, Fault(Mode.NOTE))
        rows = [line.split("\t") for line in self._log.read_text().splitlines()]
        return ended, [Operation(int(n), *rest) for n, *rest in rows]

    def run(
        self, argv: Sequence[str], environment: Mapping[str, str], fault: Fault | None = None
    ) -> Ended:
        mode, at, error = fault or (0, 0, 0)
        root, log = os.fsencode(self._root), os.fsencode(self._log)
        self._control[:] = _FIELDS.pack(0, at, 0, mode, error, 0, 0, root, log)
        try:
            return self._run(argv, environment)
        finally:
            # The test's own looks at files are none of the program's.
            self._control[24:28] = bytes(4)

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
        (hits,) = struct.unpack_from("=q", self._control, 16)
        return Ended(status, self._told.read_text(errors="replace"), hits)


@contextlib.contextmanager
def faulty_program(library: Path, directory: Path, root: Path) -> Iterator[FaultyProgram]:
    program = FaultyProgram(library, directory, root)
    try:
        yield program
    finally:
        program.close()
