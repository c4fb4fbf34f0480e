"""What is said between the reading process and those who ask it, as `core.frames`.

Begin comes first and answers Ready. Then file after file: its name and size, its bytes in parts;
Read or Failed comes back. After Failed with `last` the process ends.
"""

from __future__ import annotations

import msgspec

from dimora.documents.base import Document
from dimora.documents.limits import ReadingLimits

# A file comes in parts, so that it never lies in memory more often than needed.
PART_BYTES = 2**20


class _Frame(msgspec.Struct, frozen=True, kw_only=True, tag_field="do"):
    pass


class Begin(_Frame, frozen=True, kw_only=True, tag="begin"):
    limits: ReadingLimits


class File(_Frame, frozen=True, kw_only=True, tag="file"):
    name: str
    size_bytes: int


class Part(_Frame, frozen=True, kw_only=True, tag="part"):
    data: bytes


ToReader = Begin | File | Part


class Ready(_Frame, frozen=True, kw_only=True, tag="ready"):
    pass


class Read(_Frame, frozen=True, kw_only=True, tag="read"):
    document: Document


class Failed(_Frame, frozen=True, kw_only=True, tag="failed"):
    kind: str
    code: str
    message: str
    hint: str
    last: bool


FromReader = Ready | Read | Failed
