"""Compound files (OLE), the boxes of older Office programs and of Outlook: what is in them.

Only their directory is read here, and only as far as needed to tell what a file is.
See [MS-CFB], sections 2.2 and 2.6.
"""

from __future__ import annotations

_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENTRY_BYTES = 128
# More entries than any document that is read here; each is 128 bytes.
_ENTRIES = 4096


def is_compound(head: bytes) -> bool:
    return head.startswith(_MAGIC)


def has_stream(head: bytes, *beginnings: str) -> bool:
    """Whether an entry's name begins like one of these.

    The directory may lie anywhere: of the beginning of a file what is there is looked at.
    """
    if not is_compound(head) or len(head) < 512:
        return False
    sector_bytes = 4096 if head[30] == 12 else 512
    wanted = tuple(beginning.encode("utf-16-le") for beginning in beginnings)
    first = (int.from_bytes(head[48:52], "little") + 1) * sector_bytes
    # The sectors of the directory mostly follow each other; else one finds the names in the file.
    for at in range(first, min(len(head), first + _ENTRIES * _ENTRY_BYTES), _ENTRY_BYTES):
        if head.startswith(wanted, at) and head[at + 66 : at + 67] in (b"\x01", b"\x02"):
            return True
    return False
