"""What this machine computes with."""

from __future__ import annotations

import math
import os
import platform
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

_CPU_FACTS = Path("/proc/cpuinfo")
_FACTS_BYTES = 16384
# The microseconds of computing that a container has, of so many that pass; "max" for no bound.
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
# Extensions that engines may use; other words of the system come and go with its kernel.
_INSTRUCTIONS = re.compile(
    r"amx_|avx|bmi|f16c|fma|fp16|popcnt|sse|vnni|asimd|sve|sme(?!p)|i8mm|bf16|rvv|vsx|vx"
)
_BYTE_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})


def processor_name() -> str:
    """Such as `Some Processor 9000, 8 threads`."""
    # Python asks another program for the second, where the system does not say.
    name = _told("model name") or platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count() or 1} threads"


def usable_cores() -> int:
    """Cores that this process may compute on: not those that another may keep for itself, by
    affinity or by a container's share, since threads that wait for each other cost more than they
    bring."""
    import psutil

    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = min(cores, len(os.sched_getaffinity(0)))
    with suppress(OSError, ValueError):
        share, _, period = _QUOTA.read_text().partition(" ")
        cores = min(cores, math.ceil(int(share) / int(period)))
    return max(1, cores)


def processor_features() -> str:
    """The machine and what its first processor can do, as words."""
    told = (_told("flags") or _told("Features")).split()
    return " ".join(sorted({platform.machine(), *filter(_INSTRUCTIONS.match, told)}))


def has_amx() -> bool:
    """Whether the processor says it has Intel's matrix extensions."""
    return "amx_tile" in processor_features().split()


def multiplies_brain_floats() -> bool:
    """Whether an x86 processor multiplies whole tiles of brain floats, as those with AMX do."""
    return "amx_bf16" in processor_features().split()


def multiplies_bytes() -> bool:
    """Whether an x86 processor adds up products of bytes in one instruction, as those with VNNI do;
    true where it does not say."""
    features = set(processor_features().split())
    return "avx2" not in features or not features.isdisjoint(_BYTE_PRODUCTS)


def _told(name: str) -> str:
    """What Linux says of the first processor, "" where it says nothing."""
    return _facts(_CPU_FACTS).get(name, "")


@lru_cache(maxsize=1)
def _facts(path: Path) -> Mapping[str, str]:
    """They never change; every plan of a model asks for them."""
    text = ""
    with suppress(OSError), path.open("rb") as file:
        text = file.read(_FACTS_BYTES).decode("ascii", "replace")
    pairs = (line.partition(":") for line in reversed(text.splitlines()))
    return {key.strip(): value.strip() for key, _, value in pairs}
