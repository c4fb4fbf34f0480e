"""What a file type offers, and what comes of a file.

A file on this shelf has

    NAME: str                         as people call the type, such as "PDF"
    ENDINGS: tuple[str, ...]          of file names, small letters, with the dot
    MEDIA_TYPES: tuple[str, ...]      the first one is told of its documents
    EXTRA: str                        the optional extra of the package it needs, "" for none
    def is_it(head: bytes, name: str) -> bool    whether these first bytes, or all, surely are
                                                 of this type; the name may help to say so
    def read(data: bytes, name: str, budget: Budget) -> Document

and, if the tests cannot make one, `example() -> bytes`: a small file with the words "Dimora reads".
Libraries are imported where they are used: all types are asked what a file is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

from dimora.documents import refusals

Kind = Literal["heading", "paragraph", "item", "table", "code", "navigation"]


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a document that belongs together, in reading order.

    `level` is that of a heading, from 1. `page` counts from 1, 0 where there are none. `place` says
    where it stands in other words, such as the name of a sheet. The text of a table is Markdown,
    its first line the heads of the columns; a long one comes in several blocks with the same heads.
    `navigation` says what stands elsewhere: tables of contents, links from page to page.
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

    @property
    def whole_text(self) -> str:
        """That, and the texts of all that was in it, each under its name."""
        inside = (f"{one.name}\n\n{one.whole_text}" for one in self.attachments)
        return "\n\n".join(part for part in (self.text, *inside) if part)


class Budget(msgspec.Struct, kw_only=True):
    """What reading a file may still take; a reader asks before it takes.

    What is taken raises BadRequest (`document_too_large`) when nothing is left. `late_at` is a time
    of the monotonic clock.
    """

    pages: int
    unpacked_bytes: int
    characters: int
    depth: int
    late_at: float = float("inf")

    @property
    def is_late(self) -> bool:
        """Whether what takes long, such as letters in pictures, is better left out from now on."""
        return time.monotonic() > self.late_at

    def take_pages(self, count: int) -> None:
        if count > self.pages:
            raise refusals.too_large(f"it has {count} pages, and {self.pages} are read")
        self.pages -= count

    def take_unpacked(self, size_bytes: int) -> None:
        if size_bytes > self.unpacked_bytes:
            most = self.unpacked_bytes // 2**20
            raise refusals.too_large(f"unpacked it has more than {most} MiB")
        self.unpacked_bytes -= size_bytes

    def take_characters(self, count: int) -> None:
        if count > self.characters:
            raise refusals.too_large("it has more text than is read")
        self.characters -= count


class FileType(Protocol):
    """The shape of a file on this shelf."""

    NAME: str
    ENDINGS: tuple[str, ...]
    MEDIA_TYPES: tuple[str, ...]
    EXTRA: str

    is_it: Callable[[bytes, str], bool]

    def read(self, data: bytes, name: str, budget: Budget) -> Document:
        """Raises BadRequest for a file that is broken, sealed by a password, or over budget.

        Any other exception is taken as a broken file. Invisible characters are removed afterwards.
        """
