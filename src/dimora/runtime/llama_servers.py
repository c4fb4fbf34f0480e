"""Which llama-server runs GGUF models: that of the settings, else of the toolchain, else on PATH.

The toolchain's was built and tried here. Others are asked for their build, and refused when it is
older than the one this version of Dimora was written for.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import msgspec

from dimora.core.settings import Settings
from dimora.models.toolchain.installed import STAMP, Minimum, Toolchain, find_toolchain, read_pin

SETTINGS, TOOLCHAIN, ON_PATH = "the settings", "the toolchain", "PATH"
_NONE = "none"
_PROGRAM = "llama-server"
_ASK_SECONDS = 30.0
# `version: 6690 (1d0125b)`, later `version: 0.5.0-dev (build 11434, commit 0c1e570)`.
_VERSION = re.compile(r"version: (?:(\d+)\.(\d+)\.(\d+)\S* \(build (\d+)|(\d+) )")


class LlamaServer(msgspec.Struct, frozen=True):
    """An executable and who named it. `refused` says why that one is not run; `path` is empty then,
    and where there is none. `build` is another when the file is."""

    path: str = ""
    named_by: str = ""
    refused: str = ""

    @property
    def build(self) -> str:
        return "-".join(map(str, _seal(Path(self.path)))) if self.path else ""


class LlamaServers:
    """Finds the executable, for every request: a toolchain may come while a house stands. What
    was found out is kept for as long as the files it was found out of stay the same."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pin = read_pin()
        self._stamp = settings.toolchain_path / self._pin.version / STAMP
        self._toolchain: tuple[object, Toolchain | None] = ((), None)
        self._refusals: dict[tuple[str, tuple[int, ...]], str] = {}

    def find(self) -> LlamaServer:
        wanted = self._settings.llama_server
        if wanted == _NONE:
            return LlamaServer()
        if wanted:
            return self._checked(shutil.which(wanted), SETTINGS)
        toolchain = self._find_toolchain()
        if toolchain is not None:
            return LlamaServer(str(toolchain.program(_PROGRAM)), TOOLCHAIN)
        there = shutil.which(_PROGRAM)
        return self._checked(there, ON_PATH) if there else LlamaServer()

    def _find_toolchain(self) -> Toolchain | None:
        seal = (_seal(self._settings.toolchain_path), _seal(self._stamp))
        if self._toolchain[0] != seal:
            self._toolchain = (seal, find_toolchain(self._settings.toolchain_path))
        return self._toolchain[1]

    def _checked(self, path: str | None, named_by: str) -> LlamaServer:
        refused = self._why_not(path) if path else "is not there, or cannot be run"
        if path is None or refused:
            return LlamaServer("", named_by, f"the llama-server of {named_by} {refused}")
        return LlamaServer(path, named_by)

    def _why_not(self, path: str) -> str:
        key = (path, _seal(Path(path)))
        if key not in self._refusals:
            self._refusals[key] = why_too_old(_version_of(path), self._pin.minimum)
        return self._refusals[key]


def why_too_old(told: str, minimum: Minimum) -> str:
    """Why an executable that says this of itself is not run, empty when it is."""
    found = _VERSION.search(told)
    if found is None:
        return "does not say which build it is"
    build = int(found[4] or found[5])
    # Builds from a source without history count from 0 or 1; there the version decides.
    if build > 1:
        fits = build >= minimum.build
    else:
        least = tuple(map(int, minimum.version.split(".")))
        fits = found[1] is not None and tuple(map(int, found.group(1, 2, 3))) >= least
    return "" if fits else f"is build {build}; {minimum.build} or newer is needed"


def _seal(path: Path) -> tuple[int, ...]:
    """Changes when the file or directory does; empty where there is none."""
    try:
        state = path.stat()
    except OSError:
        return ()
    return (state.st_ino, state.st_size, state.st_mtime_ns)


def _version_of(path: str) -> str:
    try:
        asked = subprocess.run(
            [path, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ASK_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return (asked.stdout + asked.stderr)[:4096]
