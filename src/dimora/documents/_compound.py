"""Compound files (OLE), the boxes of older Office programs and of Outlook: what is in them.

Only the names of their directory are looked for, to tell what a file is; see [MS-CFB] 2.6.
"""

from __future__ import annotations

_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENTRY_BYTES = 128
_KIND_AT = 66
_STORAGE_OR_STREAM = (b"\x01", b"\x02")


def is_compound(head: bytes) -> bool:
    return head.startswith(_MAGIC)


def has_entry(head: bytes, *beginnings: str) -> bool:
    """Whether the name of a stream or folder begins like one of these.

    The directory may lie anywhere, in pieces: of the beginning of a file what is there is seen.
    """
    if not is_compound(head):
        return False
    return any(_stands_in(head, beginning.encode("utf-16-le")) for beginning in beginnings)


def _stands_in(head: bytes, name: bytes) -> bool:
    at = head.find(name)
    while at >= 0:
        kind = head[at + _KIND_AT : at + _KIND_AT + 1]
        if at % _ENTRY_BYTES == 0 and kind in _STORAGE_OR_STREAM:
            return True
        at = head.find(name, at + 1)
    return False
