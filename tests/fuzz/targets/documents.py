"""Documents that our own code takes apart: text with marks, pages, archives, boxes of Outlook.

The first byte says which type is asked for.
"""

from __future__ import annotations

from dimora.core.errors import BadRequest
from dimora.documents import SHELF
from dimora.documents.limits import ReadingLimits
from dimora.documents.opening import open_document
from tests.unit.documents.making import SAMPLES

REFUSAL = BadRequest

# What these raise for bad input is their own refusal.
_OURS = ("code", "csv", "html", "json", "markdown", "text")
# Libraries raise what they like: only time, memory and the process are at stake.
_WITH_LIBRARIES = ("eml", "epub", "msg", "odt", "xlsx")
_KINDS = (*_OURS, *_WITH_LIBRARIES)
_LIMITS = ReadingLimits(unpacked_bytes=8 << 20, characters=200_000, pages=10, depth=2)
_MODULES = SHELF.all()
# Made once: archives and mails have times and marks in them that differ from one to the next.
_SEEDS = tuple(bytes([i]) + SAMPLES[kind][1]() for i, kind in enumerate(_KINDS))


def seeds() -> list[bytes]:
    return list(_SEEDS)


def read(data: bytes) -> None:
    kind = _KINDS[data[0] % len(_KINDS)] if data else "text"
    name = SAMPLES[kind][0]
    if kind in _OURS:
        _MODULES[kind].read(data[1:], name, _LIMITS.budget())
    else:
        open_document(name, data[1:], _LIMITS.budget())
