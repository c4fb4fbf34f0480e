"""A mail as blocks: what its head says, and its body as text or HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dimora.documents._blocks import Blocks, one_line
from dimora.documents._markup import read_page

_EMPTY_LINES = re.compile(r"\n[ \t]*\n\s*")


def add_head(blocks: Blocks, lines: Sequence[tuple[str, str]]) -> None:
    """The lines of the head that say something, as one paragraph."""
    shown = [f"{name}: {one_line(value)}" for name, value in lines if value.strip()]
    blocks.add("paragraph", "\n".join(shown))


def add_body(blocks: Blocks, plain: str, html: str) -> bool:
    """The plain form if there is one, else what HTML shows. Tells whether something was hidden."""
    if plain.strip() or not html:
        text = plain.replace("\r\n", "\n").replace("\r", "\n")
        for paragraph in _EMPTY_LINES.split(text):
            blocks.add("paragraph", paragraph)
        return False
    return read_page(html, blocks).hidden
