"""What this machine computes with."""

from __future__ import annotations

import os
import platform
import re
from contextlib import suppress
from pathlib import Path

_CPU_FACTS = Path("/proc/cpuinfo")
_FACTS_BYTES = 16384
# Extensions that engines may use; other words of the system come and go with its kernel.
_INSTRUCTIONS = re.compile(
    r"amx_|avx|bmi|f16c|fma|fp16|popcnt|sse|vnni|asimd|sve|sme(?!p)|i8mm|bf16|rvv|vsx|vx"
)
_BYTE_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})


def processor_name() -> str:
    """Such as `Some Processor 9000, 8 threads`."""
    name = platform.processor() or platform.machine()
    return f"{_told('model name') or name}, {os.cpu_count() or 1} threads"


def processor_features() -> str:
    """The machine and what its first processor can do, as words."""
    told = (_told("flags") or _told("Features")).split()
    return " ".join(sorted({platform.machine(), *filter(_INSTRUCTIONS.match, told)}))


def has_amx() -> bool:
    """Whether the processor says it has Intel's matrix extensions."""
    return "amx_tile" in processor_features().split()


def multiplies_bytes() -> bool:
    """Whether an x86 processor adds up products of bytes in one instruction, as those with VNNI do;
    true where it does not say."""
    features = set(processor_features().split())
    return "avx2" not in features or not features.isdisjoint(_BYTE_PRODUCTS)


def _told(name: str) -> str:
    """What Linux says of the first processor, "" where it says nothing."""
    with suppress(OSError), _CPU_FACTS.open("rb") as file:
        for line in file.read(_FACTS_BYTES).decode("ascii", "replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    return ""
