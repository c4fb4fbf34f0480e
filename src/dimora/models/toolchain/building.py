"""Builds llama.cpp with cmake: finds the tools, configures, compiles, tells how far it is."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from dimora.core.errors import InternalError, NotFound
from dimora.core.processor import has_amx
from dimora.models.converting.programs import Program
from dimora.models.toolchain.installed import LOG, read_pin
from dimora.storage.disk import write_whole

_CONFIGURE_SECONDS = 600.0
_BUILD_SECONDS = 4 * 3600.0
# The oldest cmake that can postpone a call to the end of a directory.
_CMAKE_LEAST = (3, 19)
_COMPILERS = ("c++", "g++", "clang++", "cl")
_PERCENT = re.compile(r"\[ *(\d+)%\]")
_VERSION = re.compile(r"version (\d+)\.(\d+)")
# The whole of it stays here: nothing is fetched, nothing is drawn from a repository around it.
_OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_APP=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
    "-DLLAMA_ALL_WARNINGS=OFF",
    "-DLLAMA_BUILD_NUMBER=0",
    "-DGGML_CCACHE=OFF",
    "-DFETCHCONTENT_FULLY_DISCONNECTED=ON",
)
# -march=native turns these on whatever the options say, so that they are undefined behind it.
_WITHOUT_AMX = """cmake_language(DEFER CALL target_compile_options ggml-cpu PRIVATE
    -U__AMX_TILE__ -U__AMX_INT8__ -U__AMX_BF16__)
"""
_HOOK = "CMAKE_PROJECT_ggml_INCLUDE"


class Tools(NamedTuple):
    cmake: str
    generator: str
    environment: dict[str, str]


class Way(NamedTuple):
    """How the kernels are compiled; `name` is for people."""

    name: str
    options: tuple[str, ...]
    is_native: bool = True
    hook: str = ""


def ways() -> list[Way]:
    """The ways to try in order: the fastest first, what runs everywhere last."""
    amx_off = tuple(f"-DGGML_AMX_{part}=OFF" for part in ("TILE", "INT8", "BF16"))
    native = Way("native", ("-DGGML_NATIVE=ON",))
    without = Way("native without AMX", ("-DGGML_NATIVE=ON", *amx_off), hook=_WITHOUT_AMX)
    portable = Way("portable", ("-DGGML_NATIVE=OFF", *amx_off), is_native=False)
    return [native, without, portable] if has_amx() else [native, portable]


class Failed:
    """Remembers over broken installations which ways did not run, so that they are not built
    again. `path` is a small file beside the build."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, list[str]] = {}
        with contextlib.suppress(OSError, msgspec.DecodeError):
            self._known = msgspec.json.decode(path.read_bytes(), type=dict[str, list[str]])

    def formats_of(self, way: Way) -> list[str]:
        """The formats that failed; empty when it is not known to fail."""
        return self._known.get(way.name, [])

    def note(self, way: Way, formats: list[str]) -> None:
        self._known[way.name] = formats
        write_whole(self._path, msgspec.json.encode(self._known))


async def find_tools() -> Tools:
    """cmake, a compiler, and what drives it. Raises NotFound naming what is missing."""
    # Those that pip installed lie beside this Python, which need not be on PATH.
    path = os.pathsep.join((os.environ.get("PATH", ""), sysconfig.get_path("scripts")))
    cmake = shutil.which("cmake", path=path)
    ninja = shutil.which("ninja", path=path)
    compiler = os.environ.get("CXX") or any(shutil.which(name, path=path) for name in _COMPILERS)
    missing = [
        name
        for name, there in (
            ("cmake", cmake),
            ("a C++ compiler", compiler),
            ("make or ninja", ninja or shutil.which("make") or sys.platform == "win32"),
        )
        if not there
    ]
    if missing or cmake is None:
        raise NotFound(
            f"building needs {', '.join(missing)}, not found on this machine",
            code="build_tools_missing",
            hint="Debian: apt install cmake g++ make; cmake and ninja also come by pip",
        )
    await _check_version(cmake)
    generator = "Ninja" if ninja else "Unix Makefiles"
    return Tools(cmake, generator, {"PATH": path, "NINJA_STATUS": "[%p] "})


async def _check_version(cmake: str) -> None:
    asked = Program([cmake, "--version"], limit_seconds=30)
    await asked.run()
    found = _VERSION.search(asked.said)
    if found is None or (int(found[1]), int(found[2])) < _CMAKE_LEAST:
        least = ".".join(map(str, _CMAKE_LEAST))
        raise NotFound(
            f"building needs cmake {least} or newer",
            code="build_tools_missing",
            hint="`pip install cmake` brings a new one",
        )


class Build:
    """A build directory that is worked on until it is done.

    `lock` is the descriptor of the lock on it: compilers that outlive us go on holding it.
    """

    def __init__(
        self,
        tools: Tools,
        source: Path,
        directory: Path,
        log_path: Path,
        *,
        jobs: int,
        lock: int,
    ) -> None:
        self.directory = directory
        self._tools = tools
        self._source = source
        self._log_path = log_path
        self._jobs = jobs
        self._lock = lock

    def program(self, name: str) -> Path:
        """Where an executable lies once it is built."""
        return self.directory / "bin" / (f"{name}.exe" if sys.platform == "win32" else name)

    async def configure(self, way: Way) -> None:
        """Raises InternalError when cmake refuses."""
        self.directory.mkdir(exist_ok=True)
        self._forget_other_ways(f"{self._tools.generator}, {way.name}")
        hook = self.directory / "hook.cmake"
        hook.write_text(way.hook, encoding="utf-8")
        argv = [self._tools.cmake, "-S", str(self._source), "-B", str(self.directory)]
        argv += ["-G", self._tools.generator, *_OPTIONS, *way.options, f"-D{_HOOK}={hook}"]
        argv.append(f"-DLLAMA_BUILD_COMMIT={read_pin().commit}")
        program = self._program(argv, _CONFIGURE_SECONDS)
        if await program.run() != 0:
            raise _failure("cmake cannot configure the build")

    def _forget_other_ways(self, choice: str) -> None:
        """cmake keeps what options meant when it first saw them; objects that fit are kept."""
        note = self.directory / "way"
        before = note.read_text(encoding="utf-8") if note.exists() else ""
        if before != choice:
            (self.directory / "CMakeCache.txt").unlink(missing_ok=True)
            note.write_text(choice, encoding="utf-8")

    async def run(self, targets: Sequence[str]) -> AsyncGenerator[int, None]:
        """Percent that are done, as they rise. Raises InternalError when something fails."""
        argv = [self._tools.cmake, "--build", str(self.directory), "--parallel", str(self._jobs)]
        program = self._program([*argv, "--target", *targets], _BUILD_SECONDS)
        last = -1
        async with contextlib.aclosing(program.lines()) as lines:
            async for line in lines:
                found = _PERCENT.match(line)
                if found and int(found[1]) > last:
                    last = int(found[1])
                    yield last
        if program.timed_out:
            raise _failure("the build took too long")
        if program.status != 0:
            raise _failure("the build failed")

    def _program(self, argv: list[str], limit_seconds: float) -> Program:
        return Program(
            argv,
            limit_seconds=limit_seconds,
            environment=self._tools.environment,
            log_path=self._log_path,
            inherited=(self._lock,),
        )


def _failure(message: str) -> InternalError:
    return InternalError(
        message, hint=f"toolchain/{read_pin().version}/{LOG} in the home has the tools' words"
    )
