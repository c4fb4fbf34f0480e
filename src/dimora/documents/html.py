"""Pages of HTML: what a reader would see. Scripts do not run, and nothing is loaded."""

from __future__ import annotations

import re

from dimora.documents._blocks import Blocks, title_in
from dimora.documents._decoding import decoded, is_text
from dimora.documents._markup import read_page
from dimora.documents.base import Budget, Document

NAME = "HTML"
ENDINGS = (".html", ".htm", ".xhtml", ".shtml")
MEDIA_TYPES = ("text/html", "application/xhtml+xml")
EXTRA = ""

_BEGINNING = re.compile(
    # A comment ends at its first end: to try the later ones too would take forever.
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]{0,200}>\s*)?(?><!--.{0,2000}?-->\s*)*+"
    rb"<(?:!doctype\s+html|html[\s>])",
    re.IGNORECASE | re.DOTALL,
)
_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?([\w-]{2,40})", re.IGNORECASE)


def is_it(head: bytes, name: str) -> bool:
    return bool(_BEGINNING.match(head)) or (name.lower().endswith(ENDINGS) and is_text(head))


def read(data: bytes, name: str, budget: Budget) -> Document:
    blocks = Blocks(budget)
    charset = _CHARSET.search(data[:4096])
    page = read_page(decoded(data, charset[1].decode() if charset else ""), blocks)
    found = blocks.all()
    return Document(
        name=name,
        media_type=MEDIA_TYPES[0],
        blocks=found,
        title=page.title or title_in(found),
        warnings=("hidden text was left out",) if page.hidden else (),
    )
