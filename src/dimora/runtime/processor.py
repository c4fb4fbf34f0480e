"""What this machine computes with, in words."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path

_CPU_FACTS = Path("/proc/cpuinfo")


def processor_name() -> str:
    """Such as `Some Processor 9000, 8 threads`."""
    name = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = _CPU_FACTS.read_text(encoding="utf-8", errors="replace").splitlines()
        name = next(line for line in lines if line.startswith("model name")).partition(":")[2]
    return f"{name.strip()}, {os.cpu_count() or 1} threads"
