"""Files that are zip archives: what is in them, and no more of it than the budget allows.

Nothing is ever written to disk, and no name in an archive leads anywhere but into it.
"""

from __future__ import annotations

import io
import zipfile

from dimora.documents import refusals
from dimora.documents._compound import has_entry
from dimora.documents.base import Budget

_MAGIC = b"PK\x03\x04"
# An archive with more than these is made to be unpacked forever.
_MEMBERS = 20_000


class Package:
    """An archive whose sizes were checked; reading takes no more than it says of itself."""

    def __init__(self, data: bytes, what: str, budget: Budget) -> None:
        """Raises BadRequest for what is no archive, is sealed, or is too large unpacked."""
        # Office puts what it seals into a box of another kind.
        if has_entry(data, "EncryptedPackage"):
            raise refusals.sealed()
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OSError):
            raise refusals.unreadable(what) from None
        self._what = what
        members = self._archive.infolist()
        if len(members) > _MEMBERS:
            raise refusals.too_large(f"it has more than {_MEMBERS} parts")
        if any(member.flag_bits & 1 for member in members):
            raise refusals.sealed()
        budget.take_unpacked(sum(member.file_size for member in members))
        self._names = {member.filename for member in members}

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def names(self) -> list[str]:
        return self._archive.namelist()

    def read(self, name: str) -> bytes:
        """One part. Raises BadRequest where it is missing, damaged, or packed in a strange way."""
        try:
            return self._archive.read(name)
        except (KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError):
            raise refusals.unreadable(self._what) from None
        except Exception as why:
            # The decompressors have errors of their own (zlib.error, LZMAError).
            if isinstance(why, MemoryError):
                raise
            raise refusals.unreadable(self._what) from None


def has_member(head: bytes, *beginnings: str) -> bool:
    """Whether this is an archive with a part whose name begins like one of these.

    Of a whole archive its directory is read; of the beginning of one what stands there.
    """
    if not head.startswith(_MAGIC):
        return False
    try:
        names = zipfile.ZipFile(io.BytesIO(head)).namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, EOFError):
        names = _names_at_the_beginning(head)
    return any(name.startswith(beginnings) for name in names)


def declares(head: bytes, *media_types: str) -> bool:
    """Whether an archive's first part says in plain words which type it is of (ODF, EPUB)."""
    if not head.startswith(_MAGIC) or head[30:38] != b"mimetype":
        return False
    begin = 38 + int.from_bytes(head[28:30], "little")
    return any(
        head.startswith(media_type.encode(), begin) and head[begin + len(media_type)] < 0x7F
        for media_type in media_types
        if len(head) > begin + len(media_type)
    )


def _names_at_the_beginning(head: bytes) -> list[str]:
    names: list[str] = []
    at = head.find(_MAGIC)
    while at >= 0 and len(names) < _MEMBERS:
        length = int.from_bytes(head[at + 26 : at + 28], "little")
        names.append(head[at + 30 : at + 30 + length].decode("utf-8", "replace"))
        at = head.find(_MAGIC, at + 30)
    return names
