"""Cuts a long text where a byte-pair tokenizer cuts it as well."""

from __future__ import annotations

import re
from collections.abc import Iterator

# Between a word and the blank before the next, or after a line's end: no token spans either. Not
# after an empty line: how line ends are joined there depends on what follows.
_SEAM = re.compile(r"(?<=[A-Za-z])(?= [A-Za-z])|(?<=\S\n)(?=[A-Za-z])")


def cut_text(text: str, most_characters: int) -> Iterator[str]:
    """Pieces of at most so many characters that join to the text.

    A text without a seam for that long is cut all the same, which costs a token more there.
    """
    start = 0
    while len(text) - start > most_characters:
        end = start + most_characters
        seam = end
        for found in _SEAM.finditer(text, start + most_characters // 2, end):
            seam = found.start()
        yield text[start:seam]
        start = seam
    yield text[start:]
