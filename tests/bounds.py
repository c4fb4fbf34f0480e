"""The bounds of every reader of somebody else's bytes: two seconds of a slow processor, 64 MiB."""

from __future__ import annotations

import gc
import re
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECONDS = 2.0
MEMORY_BYTES = 64 << 20


def within_bounds(read: Callable[[], Any]) -> None:
    """Run `read`, which catches what it may raise itself; its time is that of the processor."""
    gc.collect()
    started = time.process_time()
    used_bytes = peak_bytes(read)
    assert time.process_time() - started < SECONDS
    assert used_bytes < MEMORY_BYTES, f"{used_bytes >> 20} MiB"


def peak_bytes(read: Callable[[], Any]) -> int:
    """How much memory more than before is in use at most while `read` runs."""
    try:
        # Linux forgets the peak so far (proc_pid_clear_refs(5)).
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        tracemalloc.start()
        try:
            read()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    before = resident_bytes("VmRSS")
    read()
    return resident_bytes("VmHWM") - before


def resident_bytes(which: str) -> int:
    """`VmRSS` or `VmHWM` of this process, on Linux."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{which}:\s+(\d+) kB", status)[1]) << 10  # type: ignore[index]
