"""What a file type offers, and what comes of a file.

A file on this shelf has

    ENDINGS: tuple[str, ...]          of file names, small letters, with the dot
    MEDIA_TYPES: tuple[str, ...]      the first one is told of its documents
    EXTRA: str                        the optional extra of the package it needs, "" for none
    def is_it(head: bytes, name: str) -> bool    whether these first bytes are of this type
    def read(data: bytes, name: str, budget: Budget) -> Document
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

Kind = Literal["heading", "paragraph", "item", "table", "code"]


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a document that belongs together, in reading order.

    `level` is that of a heading, from 1. `page` counts from 1, 0 where there are none. `place` says
    where it stands in other words, such as the name of a sheet. The text of a table is Markdown,
    its first line the heads of the columns.
    """

    kind: Kind
    text: str
    level: int = 0
    page: int = 0
    place: str = ""


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of a file. `attachments` are files that were in it, such as a mail's.

    `invisible` counts the characters that were taken out because nobody can see them. `warnings`
    say what could not be read.
    """

    name: str
    media_type: str
    blocks: tuple[Block, ...]
    title: str = ""
    pages: int = 0
    invisible: int = 0
    attachments: tuple[Document, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All blocks, parted by empty lines."""
        return "\n\n".join(block.text for block in self.blocks)


class Budget(msgspec.Struct, kw_only=True):
    """What reading a file may still take; a reader asks before it takes."""

    pages: int
    unpacked_bytes: int
    characters: int
    depth: int


class FileType(Protocol):
    """The shape of a file on this shelf."""

    ENDINGS: tuple[str, ...]
    MEDIA_TYPES: tuple[str, ...]
    EXTRA: str

    is_it: Callable[[bytes, str], bool]

    def read(self, data: bytes, name: str, budget: Budget) -> Document:
        """Raises BadRequest for a file that is broken, sealed by a password, or over budget."""
