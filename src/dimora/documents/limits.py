"""What reading one file may take."""

from __future__ import annotations

import time

import msgspec

from dimora.documents.base import Budget

# What was read by then is better given back than lost with the rest of a long scan.
_SHARE_FOR_PICTURES = 0.6


class ReadingLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Fit for an office. `memory_bytes` is the address space of the reading process, of
    which less than half is ever in use: letters of a scanned page take 1.4 GiB, and 0.5 in use.
    `unpacked_bytes` and `characters` count a file and all that is in it, `depth` files in files.
    """

    seconds: float = 60.0
    memory_bytes: int = 2 * 2**30
    open_files: int = 128
    file_bytes: int = 200 * 2**20
    pages: int = 5_000
    unpacked_bytes: int = 500 * 2**20
    characters: int = 20_000_000
    depth: int = 4

    def budget(self) -> Budget:
        return Budget(
            pages=self.pages,
            unpacked_bytes=self.unpacked_bytes,
            characters=self.characters,
            depth=self.depth,
            late_at=time.monotonic() + self.seconds * _SHARE_FOR_PICTURES,
        )
