"""Gives back the memory of files that were mapped and are not needed any more."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_MADV_DONTNEED = 4


def release_pages(files: Iterable[Path]) -> None:
    """Let go of the pages of these files; who needs one again gets it from the file. Nothing
    happens where the system cannot tell or cannot do it."""
    if sys.platform != "linux":
        return
    with suppress(OSError):
        wanted = {os.path.realpath(path) for path in files}
        libc = ctypes.CDLL(None)
        for line in Path("/proc/self/maps").read_text().splitlines():
            span, rights, *_, name = line.split(maxsplit=5)
            # Only what nobody writes to: its pages are those of the file, and nothing is lost.
            if name in wanted and "w" not in rights:
                start, end = (int(address, 16) for address in span.split("-"))
                libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)
