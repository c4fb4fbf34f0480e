"""Does one task over many inputs, row by row, into a table that can be gone on with.

A row is done when a whole line is in the output with the hash of all that was asked, whatever the
row was called then. Errors have lines too, and are tried again the next time. At the end the table
is written anew, in the order and with the names of the inputs, and takes the place of the old one
at once.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from dimora.cli.reading import Texts, text_of
from dimora.core.errors import BadRequest
from dimora.storage.disk import discard, open_private, temporary_for

HASH, INPUT, ERROR = "hash", "input", "error"
_SHA256 = re.compile(r"[0-9a-f]{64}")
# What spreadsheets take for a formula, in words that are somebody else's.
_FORMULA = ("=", "@", "+", "-", "\t", "\r")
# As much as fits a C long everywhere: a whole document may be one cell.
_CELL_CHARACTERS_AT_MOST = 2**31 - 1


class Row(msgspec.Struct, frozen=True):
    """One input: its name in the table, and the fields it brings; or why it brings none."""

    name: str
    fields: Mapping[str, str] = {}
    error: str = ""


def read_rows(source: Path, main: str, known: Sequence[str]) -> Iterator[Row]:
    """Rows of a folder (each file the `main` field) or of a table (each column a field).

    Raises BadRequest when it is neither, or no column is the `main` field.
    """
    if source.is_dir():
        yield from _rows_of_folder(source, main)
    elif source.suffix.lower() in (".csv", ".tsv"):
        yield from _rows_of_table(source, main, known)
    elif source.is_file():
        with Texts() as texts:
            yield _row_of_file(source, source.name, main, texts)
    else:
        raise BadRequest("there is no such folder or file to read", param="in")


def _rows_of_folder(folder: Path, main: str) -> Iterator[Row]:
    with Texts() as texts:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and not any(part.startswith(".") for part in Path(name).parts):
                yield _row_of_file(path, name, main, texts)


def _row_of_file(path: Path, name: str, main: str, texts: Texts) -> Row:
    try:
        return Row(name, {main: texts.of(path)})
    except BadRequest as why:
        return Row(name, error=why.message)


def _rows_of_table(path: Path, main: str, known: Sequence[str]) -> Iterator[Row]:
    text = text_of(path)
    head = text.partition("\n")[0]
    delimiter = max("\t;,", key=head.count)
    try:
        columns, lines = _read_csv(io.StringIO(text), delimiter)
    except csv.Error as why:
        raise BadRequest(f"the table cannot be read: {why}", param="in") from None
    column = main if main in columns else columns[0] if len(columns) == 1 else ""
    if not column:
        raise BadRequest(
            f"the table has no column {main!r}",
            hint=f"name the column of what the work is done with {main!r}",
            param="in",
        )
    others = [name for name in columns if name in known and name != column]
    for number, line in enumerate(lines, 1):
        brought = {name: line[name] for name in others if line[name]}
        yield Row(str(number), {main: line[column] or "", **brought})


def hash_of(request: msgspec.Struct) -> str:
    """Of all that was asked, the model's name and options among it."""
    return hashlib.sha256(msgspec.json.encode(request, order="deterministic")).hexdigest()


class Table:
    """The output: JSON lines or CSV, by its ending. One writer at a time.

    `columns` are the result's fields; in CSV what is no plain value stands as JSON.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        if path.suffix.lower() not in (".csv", ".jsonl"):
            raise BadRequest("the output must end in .csv or .jsonl", param="out")
        self._path = path
        self._is_csv = path.suffix.lower() == ".csv"
        self._columns = (INPUT, *columns, ERROR, HASH)
        self._kept: dict[str, dict[str, Any]] = {}
        self._read()

    def has(self, digest: str) -> bool:
        """Whether a row of this hash is done."""
        return digest in self._kept and not self._kept[digest][ERROR]

    def begin(self) -> None:
        """Put what is whole in place of what is there. Raises OSError."""
        self._write_all(map(self._line, self._kept.values()))

    def add(
        self, name: str, digest: str, result: Mapping[str, Any] | None, error: str = ""
    ) -> None:
        """One line, on the disk when this returns."""
        cells = self._cells({INPUT: name, **(result or {}), ERROR: error, HASH: digest})
        with self._path.open("ab") as file:
            file.write(self._line(cells).encode())
            file.flush()
            os.fsync(file.fileno())
        # An error is kept for the end only.
        self._kept[digest] = cells

    def finish(self, rows: Iterable[tuple[str, str]]) -> None:
        """A line for each of these names and hashes, in this order, and no others."""
        self._write_all(
            self._line(self._kept[digest] | self._cells({INPUT: name}))
            for name, digest in rows
            if digest in self._kept
        )

    def _read(self) -> None:
        try:
            # A line that was broken off may end within a character.
            text = self._path.read_bytes().decode(errors="replace")
        except FileNotFoundError:
            return
        except OSError as why:
            raise BadRequest(f"the output cannot be read: {why.strerror}", param="out") from None
        known = 0
        for record in self._records(text):
            digest = str(record.get(HASH, ""))
            if set(record) != set(self._columns) or not _SHA256.fullmatch(digest):
                continue
            known += 1
            if not record[ERROR]:
                self._kept[digest] = record
        if text.strip() and not known and not self._is_ours(text):
            raise BadRequest(
                "the output is there, and no table of this task",
                hint="choose another name with --out",
                param="out",
            )

    def _is_ours(self, text: str) -> bool:
        """Whether it could be the beginning of a table that was broken off in its first line."""
        first = self._head() if self._is_csv else f'{{"{INPUT}":'
        return text.startswith(first) or first.startswith(text)

    def _records(self, text: str) -> Iterator[dict[str, Any]]:
        if self._is_csv:
            try:
                _, lines = _read_csv(io.StringIO(text, newline=""))
            except csv.Error as why:
                # To go on with what was read so far would write over the rest.
                raise BadRequest(
                    f"the output is there, and cannot be read: {why}",
                    hint="mend it, or choose another name with --out",
                    param="out",
                ) from None
            for cells in lines:
                # A line that was broken off has too few cells, one of another table too many.
                if all(value is not None for value in cells.values()):
                    yield cells
            return
        for line in text.split("\n")[:-1]:
            with contextlib.suppress(ValueError):
                yield msgspec.json.decode(line, type=dict[str, Any])

    def _head(self) -> str:
        return _csv_line(self._columns)

    def _cells(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The record as it stands in the table."""
        return (
            {name: _cell(value) for name, value in record.items()} if self._is_csv else {**record}
        )

    def _line(self, cells: Mapping[str, Any]) -> str:
        full = {name: cells.get(name) for name in self._columns}
        if not self._is_csv:
            return msgspec.json.encode(full).decode() + "\n"
        return _csv_line(list(full.values()))

    def _write_all(self, lines: Iterable[str]) -> None:
        """A new file for its owner only; one that is there keeps the rights it has."""
        scratch = temporary_for(self._path)
        try:
            with open(scratch, "x", encoding="utf-8", newline="", opener=open_private) as file:
                if self._is_csv:
                    file.write(self._head())
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileNotFoundError):
                scratch.chmod(stat.S_IMODE(self._path.stat().st_mode))
            scratch.replace(self._path)
        finally:
            discard(scratch)


def _read_csv(source: io.StringIO, delimiter: str = ",") -> tuple[list[str], list[dict[str, Any]]]:
    """The columns, and all lines. Raises csv.Error."""
    # The limit is the process's: it is lifted for as long as this reads.
    before = csv.field_size_limit(_CELL_CHARACTERS_AT_MOST)
    try:
        reader = csv.DictReader(source, delimiter=delimiter)
        return list(reader.fieldnames or ()), list(reader)
    finally:
        csv.field_size_limit(before)


def _csv_line(cells: Sequence[Any]) -> str:
    told = io.StringIO()
    # Before Python 3.13 a carriage return is quoted only where it belongs to the line's end.
    csv.writer(told, lineterminator="\r\n").writerow(cells)
    return told.getvalue().removesuffix("\r\n") + "\n"


def _cell(value: Any) -> str:
    """A value as a cell; text that a spreadsheet would compute gets an apostrophe in front."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return msgspec.json.encode(value).decode()
    if value.startswith(_FORMULA) and not re.fullmatch(r"[-+]?[\d.,]+", value):
        return f"'{value}"
    return value
