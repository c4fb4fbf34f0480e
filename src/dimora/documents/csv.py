"""Tables as text: values parted by commas, semicolons or tabulators."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import islice

from dimora.documents import refusals
from dimora.documents._blocks import Blocks
from dimora.documents._decoding import decoded, is_text
from dimora.documents.base import Budget, Document

NAME = "table of values"
ENDINGS = (".csv", ".tsv", ".tab")
MEDIA_TYPES = ("text/csv", "text/tab-separated-values")
EXTRA = ""

_DELIMITERS = ",;\t|"
_SAMPLE_CHARACTERS = 2**16
_SAMPLE_ROWS = 50


def is_it(head: bytes, name: str) -> bool:
    return name.lower().endswith(ENDINGS) and is_text(head)


def read(data: bytes, name: str, budget: Budget) -> Document:
    text = decoded(data)
    blocks = Blocks(budget)
    delimiter = _delimiter_of(text[:_SAMPLE_CHARACTERS])
    try:
        blocks.add_table(_rows(text, delimiter), numbered=True)
    except csv.Error:
        # A cell of more characters than any table has.
        raise refusals.unreadable(NAME) from None
    media_type = MEDIA_TYPES[1] if delimiter == "\t" else MEDIA_TYPES[0]
    return Document(name=name, media_type=media_type, blocks=blocks.all())


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)


def _delimiter_of(sample: str) -> str:
    """The one that cuts most rows into the same number of columns, and more than one."""

    def evenness(delimiter: str) -> tuple[int, int]:
        try:
            widths = [len(row) for row in islice(_rows(sample, delimiter), _SAMPLE_ROWS)]
        except csv.Error:
            return (0, 0)
        usual = max(set(widths), key=widths.count, default=0)
        return (widths.count(usual) if usual > 1 else 0, usual)

    return max(_DELIMITERS, key=evenness)
