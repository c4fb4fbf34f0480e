"""Processes of our own at the other end of an inherited socket pair: how they start and end.

What is said over the pair is the business of those who start them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import BinaryIO

# What a worker may know of our environment. Keys, tokens and proxies are not in it.
_ENVIRONMENT = frozenset(
    "PATH HOME USER LANG TMPDIR TEMP TMP SYSTEMROOT LD_LIBRARY_PATH DYLD_LIBRARY_PATH PYTHONPATH"
    " VIRTUAL_ENV CUDA_VISIBLE_DEVICES HIP_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES"
    " GGML_VK_VISIBLE_DEVICES GPU_DEVICE_ORDINAL HSA_OVERRIDE_GFX_VERSION OMP_NUM_THREADS".split()
)
# Libraries of engines that call home unless they are told not to.
_SILENT = {"OPENVINO_TELEMETRY_OPT_OUT": "1", "ORT_DISABLE_TELEMETRY": "1"}


def start_process(
    module: str, pipe: socket.socket, log: BinaryIO | None
) -> subprocess.Popen[bytes]:
    """Run `module` with the number of its end of the pair, in a session of its own.

    To be called in the main thread: a child that is to die with its parent dies with the very
    thread that started it. What it prints goes to `log`, or nowhere.
    """
    printed = subprocess.DEVNULL if log is None else log
    return subprocess.Popen(
        # -P: no module is taken from the folder that a person happens to be in.
        [sys.executable, "-P", "-m", module, str(pipe.fileno())],
        stdin=subprocess.DEVNULL,
        stdout=printed,
        stderr=printed,
        pass_fds=(pipe.fileno(),),
        env=worker_environment(os.environ),
        start_new_session=True,
    )


def worker_environment(ours: Mapping[str, str]) -> dict[str, str]:
    """What of our environment a worker is given."""
    kept = {n: v for n, v in ours.items() if n.upper() in _ENVIRONMENT or n.startswith("LC_")}
    return kept | _SILENT | {"PYTHONUNBUFFERED": "1"}


async def reap(process: subprocess.Popen[bytes], grace_seconds: float) -> None:
    """Wait for its end, and bring it about after `grace_seconds`; nothing it started is left."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        if grace_seconds > 0:
            await asyncio.to_thread(process.wait, grace_seconds)
    # A worker's own child must not outlive it, nor a worker its time.
    kill_family(process.pid)
    await asyncio.to_thread(process.wait)


def kill_family(leader: int) -> None:
    """Kill what is left in the worker's session; it leads a process group of its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
