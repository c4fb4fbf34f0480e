"""JSON and lines of JSON: a list of flat records is a table, all else is shown by its parts."""

from __future__ import annotations

import json
from typing import Any

from dimora.documents import refusals
from dimora.documents._blocks import Blocks
from dimora.documents._decoding import decoded, is_text
from dimora.documents.base import Budget, Document

NAME = "JSON"
ENDINGS = (".json", ".jsonl", ".ndjson", ".geojson")
MEDIA_TYPES = ("application/json",)
EXTRA = ""

# Records with more fields than these are no table that anybody reads.
_COLUMNS = 40


def is_it(head: bytes, name: str) -> bool:
    return name.lower().endswith(ENDINGS) and is_text(head)


def read(data: bytes, name: str, budget: Budget) -> Document:
    blocks = Blocks(budget)
    value = _parsed(decoded(data))
    if _is_table(value):
        _add_table(blocks, value)
    elif isinstance(value, dict):
        for key, part in value.items():
            blocks.add("code", _shown({key: part}), place=key[:100])
    elif isinstance(value, list):
        for number, part in enumerate(value, 1):
            blocks.add("code", _shown(part), place=f"item {number}")
    else:
        blocks.add("code", _shown(value))
    return Document(name=name, media_type=MEDIA_TYPES[0], blocks=blocks.all())


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        # Signs that elsewhere end a line too may stand within strings.
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    except (ValueError, RecursionError):
        raise refusals.unreadable(NAME) from None


def _is_table(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(isinstance(record, dict) for record in value)
        and all(not isinstance(field, dict | list) for record in value for field in record.values())
        and len({key for record in value for key in record}) <= _COLUMNS
    )


def _add_table(blocks: Blocks, records: list[dict[str, Any]]) -> None:
    heads = list(dict.fromkeys(key for record in records for key in record))
    rows = ([_cell(record.get(head)) for head in heads] for record in records)
    blocks.add_table([heads, *rows], numbered=True)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)
