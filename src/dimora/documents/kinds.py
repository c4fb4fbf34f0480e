"""Which type a file is of. Its content decides where it is sure, its name where it is not."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import cast

from dimora.documents import FALLBACK, SHELF, refusals
from dimora.documents.base import FileType

# Enough to see a type that says what it is at its beginning.
HEAD_BYTES = 2**16


def kind_of(name: str, head: bytes) -> str:
    """The name on the shelf of the type that reads this file, by its first bytes or all of them.

    Raises BadRequest (`unknown_document`, `empty_document`).
    """
    if not head:
        raise refusals.empty()
    types = {kind: cast("FileType", module) for kind, module in SHELF.all().items()}
    ending = ending_of(name)
    sure = [kind for kind, one in types.items() if one.is_it(head, name)]
    known = [kind for kind, one in types.items() if ending in one.ENDINGS]
    # What is certainly something is that, and best what its name says too; text may be anything.
    better = [kind for kind in sure if kind != FALLBACK]
    chosen = [kind for kind in better if kind in known] or better or sure or known
    if not chosen:
        raise refusals.unknown()
    return chosen[0]


def known_endings() -> frozenset[str]:
    """Of all the types on the shelf."""
    return frozenset(ending for one in SHELF.all().values() for ending in one.ENDINGS)


def ending_of(name: str) -> str:
    """In small letters, with its dot; empty for none."""
    return PurePosixPath(name.replace("\\", "/")).suffix.lower()
