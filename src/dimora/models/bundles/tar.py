"""The one form of tar file that a bundle has, written and read.

Plain files only, without owner, time or any other word that could differ: a name and a size make
a header, and a header that is not made so is refused. So no link, device or path ever comes out of
a bundle, and the same models make the same bytes. It is a tar file for every other program too.
"""

from __future__ import annotations

import os
import tarfile
from typing import BinaryIO

from dimora.core.errors import InvalidModel

BLOCK_BYTES = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK_BYTES)
_SIZE = slice(124, 136)


def header_of(name: str, size_bytes: int) -> bytes:
    """The block before the bytes of a file."""
    told = tarfile.TarInfo(name)
    told.size = size_bytes
    return told.tobuf(tarfile.GNU_FORMAT, "ascii", "strict")


def padding_of(size_bytes: int) -> bytes:
    """What fills the last block of a file."""
    return bytes(-size_bytes % BLOCK_BYTES)


def room_of(size_bytes: int) -> int:
    """Bytes a file of this size takes in the tar file."""
    return BLOCK_BYTES + size_bytes + -size_bytes % BLOCK_BYTES


class BundleReader:
    """Reads a bundle's files in the order they must have; `file` stands at its beginning."""

    def __init__(self, file: BinaryIO) -> None:
        self.size_bytes = os.fstat(file.fileno()).st_size
        self._file = file
        # Where the next file's header is, and how many bytes before it fill a block.
        self._next = 0
        self._padding_bytes = 0

    def take_small(self, name: str, limit_bytes: int) -> bytes:
        """The bytes of the next file, which must have this name. Raises InvalidModel."""
        block = self._block()
        digits = block[_SIZE].rstrip(b"\0 ")
        size = int(digits, 8) if digits.isdigit() and not digits.strip(b"01234567") else -1
        if not 0 <= size <= limit_bytes:
            raise _wrong(name, block)
        self._enter(name, size, block)
        return self.read(size)

    def enter(self, name: str, size_bytes: int) -> None:
        """Go to the bytes of the next file, which must have this name and size.

        Whoever passes over them enters the next one. Raises InvalidModel.
        """
        self._enter(name, size_bytes, self._block())

    def read(self, count: int) -> bytes:
        """The next bytes of the file entered, `count` at most. Raises InvalidModel at the end."""
        try:
            data = self._file.read(count)
        except OSError as why:
            raise InvalidModel(f"the bundle cannot be read: {why.strerror}", hint=_AGAIN) from None
        if len(data) < count:
            raise InvalidModel("the bundle is cut off", hint=_AGAIN)
        return data

    def finish(self) -> None:
        """Raises InvalidModel when the bundle goes on after its last file, or does not end."""
        self._pass_over()
        if self._next + len(END) != self.size_bytes or self.read(len(END)) != END:
            raise InvalidModel("the bundle does not end where it should", hint=_AGAIN)

    def _block(self) -> bytes:
        self._pass_over()
        return self.read(BLOCK_BYTES)

    def _pass_over(self) -> None:
        self._file.seek(self._next - self._padding_bytes)
        if any(self.read(self._padding_bytes)):
            raise InvalidModel("the bundle was altered or damaged", hint=_AGAIN)

    def _enter(self, name: str, size_bytes: int, block: bytes) -> None:
        if block != header_of(name, size_bytes):
            raise _wrong(name, block)
        self._next += room_of(size_bytes)
        self._padding_bytes = -size_bytes % BLOCK_BYTES
        if self._next > self.size_bytes:
            raise InvalidModel(f"{name} is larger than the bundle", hint=_AGAIN)


_AGAIN = "copy the bundle again, or let it be exported again"


def _wrong(name: str, block: bytes) -> InvalidModel:
    there = block[:100].rstrip(b"\0").decode("ascii", "replace")
    if there == name:
        return InvalidModel(f"the header of {name} in the bundle was altered", hint=_AGAIN)
    kind = "" if block[156:157] in (b"0", b"\0") else ", which is no plain file"
    return InvalidModel(
        f"the bundle has {there[:90]!r}{kind} where {name} must be",
        hint="only what `dimora bundle export` wrote can be imported",
    )
