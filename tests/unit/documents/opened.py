"""Reads a file in this process, as the reading process does."""

from __future__ import annotations

from dimora.documents.base import Block, Document
from dimora.documents.limits import ReadingLimits
from dimora.documents.opening import open_document


def opened(name: str, data: bytes | str, **limits: int) -> Document:
    whole = data.encode() if isinstance(data, str) else data
    return open_document(name, whole, ReadingLimits(**limits).budget())


def shown(blocks: tuple[Block, ...]) -> list[tuple[str, str]]:
    return [(f"h{b.level}" if b.level else b.kind, b.text) for b in blocks]
