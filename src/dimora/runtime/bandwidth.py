"""How fast this machine reads its memory: measured once, in about a second, and kept."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dimora.core.processor import processor_name, usable_cores
from dimora.storage.disk import make_private_directory, write_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROUNDS = 6
_BLOCK_BYTES = 96 << 20
# What stays free while it is measured on a machine with little memory.
_SHARE_OF_FREE = 0.2
# A machine that was busy is measured again, and the best counts.
_AGE_SECONDS = 3600.0
_LIMIT_BYTES = 4096


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A measurement, of which machine, and when (seconds since 1970)."""

    bytes_per_second: float
    machine: str
    measured_at: float


def bandwidth(cache_path: Path) -> float:
    """Bytes per second that all cores together read; blocks for about a second the first time."""
    path = cache_path / "bandwidth.json"
    known = _read(path)
    if time.time() - known.measured_at < _AGE_SECONDS:
        return known.bytes_per_second
    found = Measured(
        bytes_per_second=max(measure(), known.bytes_per_second),
        machine=_machine(),
        measured_at=round(time.time(), 1),
    )
    with contextlib.suppress(OSError):
        make_private_directory(cache_path)
        write_whole(path, msgspec.json.encode(found))
    return found.bytes_per_second


def _read(path: Path) -> Measured:
    with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
        with path.open("rb") as file:
            known = msgspec.json.decode(file.read(_LIMIT_BYTES), type=Measured)
        if known.machine == _machine():
            return known
    return Measured(bytes_per_second=0.0, machine=_machine(), measured_at=0.0)


def measure() -> float:
    """The best of a few rounds in which every core reads a block that no cache holds."""
    import numpy
    import psutil

    cores = usable_cores()
    free = psutil.virtual_memory().available * _SHARE_OF_FREE
    size = int(min(_BLOCK_BYTES, free / cores)) // 8
    blocks = [numpy.zeros(max(size, 1), numpy.int64) for _ in range(cores)]
    for block in blocks:
        block.fill(1)
    return max(_read_all(blocks) for _ in range(_ROUNDS))


def _read_all(blocks: Sequence[NDArray[Any]]) -> float:
    threads = [threading.Thread(target=block.max) for block in blocks]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    return sum(block.nbytes for block in blocks) / seconds


def _machine() -> str:
    return f"{processor_name()}, {usable_cores()} of them usable"
