"""Runs a program of the settings: an argument vector, a small environment, limits on everything.

Not a kind of tool itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence

import msgspec

# How long a program that is told to end may take for it.
GRACE_SECONDS = 1.0
_READ_BYTES = 2**16


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a program. `code` is None where it was ended: too slow, or too much output."""

    output: bytes
    code: int | None
    timed_out: bool = False
    cut: bool = False


def problem_of(command: Sequence[str], folder: str) -> str:
    """What is wrong with how the settings name a program, empty for nothing."""
    if not command or not os.path.isabs(command[0]):  # noqa: PTH117
        return "command[0] must be the whole path of a program"
    if any("\0" in part for part in command):
        return "command holds a zero byte"
    if folder and not os.path.isabs(folder):  # noqa: PTH117
        return "folder must be a whole path"
    return ""


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Where programs lie, how letters are written, and what the settings add; nothing of ours."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", **extra}


async def run_program(
    command: Sequence[str],
    *,
    folder: str,
    extra: Mapping[str, str],
    timeout_seconds: float,
    limit_bytes: int,
) -> Ended:
    """Run to the end, or to a limit; both outputs in the order in which they came.

    What it leaves running at a limit is ended with it. Raises OSError where it cannot be started.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment(extra),
        cwd=folder or os.sep,
        start_new_session=True,
    )
    output = bytearray()
    whole = timed_out = False
    try:
        async with asyncio.timeout(timeout_seconds):
            whole = await _read(process, output, limit_bytes)
            if whole:
                await process.wait()
    except TimeoutError:
        timed_out = True
    finally:
        if process.returncode is None or not whole:
            await end_group(process)
    code = process.returncode if whole and not timed_out else None
    return Ended(output=bytes(output[:limit_bytes]), code=code, timed_out=timed_out, cut=not whole)


async def _read(process: asyncio.subprocess.Process, into: bytearray, limit_bytes: int) -> bool:
    """Whether the output ended within the limit."""
    assert process.stdout is not None
    while len(into) <= limit_bytes:
        data = await process.stdout.read(_READ_BYTES)
        if not data:
            return True
        into += data
    return False


async def end_group(process: asyncio.subprocess.Process) -> None:
    """End a program and all that it started, first kindly."""
    try:
        _signal_group(process, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                await process.wait()
    finally:
        # Nothing is awaited here: a second Ctrl-C ends the kindness, and not this.
        _signal_group(process, signal.SIGKILL)
        # The pipe may be held open by whoever left the group: it is not waited for.
        transport = getattr(process, "_transport", None)
        if transport is not None:
            transport.close()


def _signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
