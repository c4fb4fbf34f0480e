"""Sheets of Excel and OpenDocument: the values that stand in the cells, no formulas."""

from __future__ import annotations

import datetime
import io
from collections.abc import Iterator
from typing import Any

from dimora.documents import refusals
from dimora.documents._blocks import Blocks
from dimora.documents._compound import has_entry
from dimora.documents._packages import Package, declares, has_member
from dimora.documents.base import Budget, Document

NAME = "spreadsheet"
ENDINGS = (".xlsx", ".xlsm", ".xltx", ".xlsb", ".xls", ".ods")
MEDIA_TYPES = (
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.ms-excel",
    "application/vnd.oasis.opendocument.spreadsheet",
)
EXTRA = ""

_OLD = ("Workbook", "Book")


def is_it(head: bytes, name: str) -> bool:
    return has_member(head, "xl/") or declares(head, MEDIA_TYPES[2]) or has_entry(head, *_OLD)


def read(data: bytes, name: str, budget: Budget) -> Document:
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError, SheetVisibleEnum

    media_type = MEDIA_TYPES[1]
    if not has_entry(data, *_OLD):
        Package(data, NAME, budget)
        media_type = MEDIA_TYPES[2] if declares(data, MEDIA_TYPES[2]) else MEDIA_TYPES[0]
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(data))
    except PasswordError:
        raise refusals.sealed() from None
    except CalamineError:
        raise refusals.unreadable(NAME) from None
    blocks = Blocks(budget)
    warnings = []
    for about in book.sheets_metadata:
        if about.visible != SheetVisibleEnum.Visible:
            warnings.append("hidden sheets were left out")
            continue
        blocks.place = about.name
        try:
            sheet = book.get_sheet_by_name(about.name)
        except CalamineError:
            warnings.append(f"a sheet cannot be read: {about.name}")
            continue
        blocks.add_table(_rows(sheet), numbered=True)
    if warnings and not blocks.all():
        raise refusals.unreadable(NAME)
    return Document(
        name=name,
        media_type=media_type,
        blocks=blocks.all(),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _rows(sheet: Any) -> Iterator[list[str]]:
    """Row by row, from the first of the sheet, so that their numbers are those people see."""
    start = sheet.start
    left = start[1] if start else 0
    for row in sheet.iter_rows():
        cells = [_shown(cell) for cell in row]
        yield cells[left:] if left and not any(cells[:left]) else cells


def _shown(value: Any) -> str:
    match value:
        case str():
            return value
        case bool():
            return "TRUE" if value else "FALSE"
        case float():
            return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
        case datetime.datetime():
            plain = value.time() == datetime.time()
            return value.date().isoformat() if plain else value.isoformat(" ", "minutes")
        case _:
            return str(value)
