"""Plain text in any encoding, its paragraphs parted by empty lines; what is nothing better."""

from __future__ import annotations

import re

from dimora.documents._blocks import Blocks
from dimora.documents._decoding import decoded, is_text
from dimora.documents.base import Budget, Document

NAME = "text"
ENDINGS = (".txt", ".text", ".log", ".srt", ".vtt", ".po", ".rst", ".adoc", ".tex", ".asc")
MEDIA_TYPES = ("text/plain",)
EXTRA = ""

_EMPTY_LINES = re.compile(r"\n[ \t]*\n\s*")
# Text with marks of a kind that nobody reads as they are.
_NOT_PLAIN = (b"{\\rtf", b"%!PS", b"%PDF-")


def is_it(head: bytes, name: str) -> bool:
    return is_text(head) and not head.lstrip().startswith(_NOT_PLAIN)


def read(data: bytes, name: str, budget: Budget) -> Document:
    blocks = Blocks(budget)
    text = decoded(data).replace("\r\n", "\n").replace("\r", "\n")
    for paragraph in _EMPTY_LINES.split(text):
        blocks.add("paragraph", paragraph)
    return Document(name=name, media_type=MEDIA_TYPES[0], blocks=blocks.all())
