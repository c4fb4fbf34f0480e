"""Runs other programs for long work: at low priority, with a time limit, ended with their group.

Their output is read as lines as it comes, and may be kept in a log file.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path

import psutil

from dimora.core.errors import InternalError

_READ_BYTES = 1 << 16
_LINE_LIMIT = 4096
_LAST_LINES = 40
# Progress bars end their lines with a carriage return.
_LINE_ENDS = re.compile(rb"[\r\n]+")
_NICENESS = 10

# What keeps libraries of other people from asking the network or telling anybody.
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
# Settings of the caller that could lead a tool elsewhere, or carry a secret to it.
_PRIVATE = re.compile(r"DIMORA_|OLLAMA_|HF_|PIP_|GIT_|.*(TOKEN|SECRET|PASSWORD|API_KEY)")


class Program:
    """One run of a program. `status` is its exit status, negative for a signal, once it ended.

    `inherited` are descriptors of open files that it shares.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        limit_seconds: float,
        environment: Mapping[str, str] | None = None,
        log_path: Path | None = None,
        inherited: Sequence[int] = (),
    ) -> None:
        self.status = 0
        self.timed_out = False
        self.last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._argv = argv
        self._limit_seconds = limit_seconds
        kept = {k: v for k, v in os.environ.items() if not _PRIVATE.match(k)}
        self._environment = {**kept, **(environment or {})}
        self._log_path = log_path
        self._inherited = inherited

    @property
    def said(self) -> str:
        """The last lines, for a message."""
        return "\n".join(self.last_lines)

    async def run(self) -> int:
        """Run to the end, for its status alone."""
        async with contextlib.aclosing(self.lines()) as lines:
            async for _ in lines:
                pass
        return self.status

    async def lines(self) -> AsyncGenerator[str, None]:
        """Its output, line by line. Ends the program when the reader goes.

        Raises InternalError when it cannot be started.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
                pass_fds=self._inherited,
            )
        except OSError as why:
            name = Path(self._argv[0]).name
            raise InternalError(f"{name} cannot be started: {why.strerror}") from None
        _step_back(process.pid)
        try:
            async with contextlib.aclosing(self._read(process)) as lines:
                async for line in lines:
                    yield line
            self.status = await process.wait()
        finally:
            _end_group(process)
            self.status = await process.wait()

    async def _read(self, process: asyncio.subprocess.Process) -> AsyncGenerator[str, None]:
        deadline = time.monotonic() + self._limit_seconds
        rest = b""
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(self._log_path.open("ab")) if self._log_path else None
            while data := await self._next(process, deadline):
                if log is not None:
                    log.write(data)
                    log.flush()
                *whole, rest = _LINE_ENDS.split(rest + data)
                for line in whole:
                    yield self._noted(line)
                if len(rest) > _LINE_LIMIT:
                    yield self._noted(rest)
                    rest = b""
        if rest:
            yield self._noted(rest)

    async def _next(self, process: asyncio.subprocess.Process, deadline: float) -> bytes:
        """More output; nothing at the end, or when its time is over."""
        if process.stdout is None:
            return b""
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await process.stdout.read(_READ_BYTES)
        except TimeoutError:
            self.timed_out = True
            _end_group(process)
            return b""

    def _noted(self, line: bytes) -> str:
        text = line[:_LINE_LIMIT].decode("utf-8", "replace")
        if text.strip():
            self.last_lines.append(text)
        return text


def _step_back(pid: int) -> None:
    """Whoever chats meanwhile comes first."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PGRP, pid, _NICENESS)


def _end_group(process: asyncio.subprocess.Process) -> None:
    """End the program and all it started, whether it still runs or left some behind."""
    if process.returncode is None:
        # Build tools put what they start into groups of its own.
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    child.kill()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
