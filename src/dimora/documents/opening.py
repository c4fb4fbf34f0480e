"""Reads one file: finds its type, has it read, and takes out what nobody can see.

Done in this very process: see `reading` for the way that stands hostile files.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import cast

import msgspec

from dimora.core.errors import DimoraError
from dimora.documents import SHELF, refusals
from dimora.documents.base import Block, Budget, Document, FileType
from dimora.documents.kinds import kind_of
from dimora.documents.visible import without_invisible


def open_document(name: str, data: bytes, budget: Budget) -> Document:
    """Raises BadRequest; `refusals` has all there are."""
    kind = cast("FileType", SHELF.load(kind_of(name, data)))
    try:
        return _cleaned(kind.read(data, name, budget))
    except DimoraError:
        raise
    except MemoryError:
        raise refusals.too_large("it takes more memory than it may") from None
    except Exception:  # noqa: BLE001
        # The border of a file: whatever a library says of it, it cannot be read.
        raise refusals.unreadable(kind.NAME) from None


class Attachments:
    """The files that were in a file, each read as far as it can be."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.documents: list[Document] = []
        self.warnings: list[str] = []

    def add(self, name: str, data: bytes) -> None:
        """A file that cannot be read is a warning, also where the budget is at its end."""
        name = harmless_name(name)
        budget = self._budget
        try:
            if budget.depth <= 0:
                raise refusals.too_deep()
            budget.take_unpacked(len(data))
            budget.depth -= 1
            try:
                self.documents.append(open_document(name, data, budget))
            finally:
                budget.depth += 1
        except DimoraError as why:
            self.warnings.append(f"{name}: {why.text}")


def harmless_name(name: str) -> str:
    """A name without folders, on one line."""
    shown, _ = without_invisible(PurePosixPath(name.replace("\\", "/")).name)
    return " ".join(shown.split())[:200] or "unnamed"


def _cleaned(document: Document) -> Document:
    count = 0
    blocks: list[Block] = []
    for block in document.blocks:
        text, removed = without_invisible(block.text)
        count += removed
        place, _ = without_invisible(block.place)
        if removed:
            text = text.strip()
        if text:
            same = text is block.text and place == block.place
            blocks.append(block if same else msgspec.structs.replace(block, text=text, place=place))
    title, removed = without_invisible(document.title)
    return msgspec.structs.replace(
        document,
        blocks=tuple(blocks),
        title=" ".join(title.split())[:500],
        invisible=document.invisible + count + removed,
    )
