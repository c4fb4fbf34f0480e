"""Does a ready task with many inputs, and says how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import msgspec

from dimora.cli.asking import door_here, pull_if_missing
from dimora.cli.batching import Row, Table, hash_of, read_rows
from dimora.cli.door import Door
from dimora.cli.words import harmless
from dimora.core.errors import BadRequest, InternalError, UnsupportedFeature
from dimora.core.settings import Settings
from dimora.tasks.ready.base import Answered, ReadyRequest, fields_of, request_of

# So many defects in a row are not the rows' fault.
_FAILURES_AT_MOST = 3


def do_many(
    task: ModuleType, asked: dict[str, Any], source: Path, target: Path, settings: Settings
) -> int:
    """1 when a row had an error, else 0. What is done stays when it is interrupted."""
    fields = fields_of(task)
    columns, shaped = _shape_of(task, asked, target)
    rows = list(read_rows(source, fields[0].name, [f.name for f in fields]))
    if not rows:
        raise BadRequest("there is nothing to read there", param="in")
    table = Table(target, columns)
    table.begin()
    batch = _Batch(table, len(rows), shaped)
    with door_here(settings) as door:
        pull_if_missing(door, asked["model"])
        try:
            for row in rows:
                batch.do(door, row, _request_of(task, asked, row))
        except KeyboardInterrupt:
            click.echo("given up; the same command goes on with the rest", err=True)
            raise
    table.finish(batch.rows)
    click.echo(batch.words(), err=True)
    return 1 if batch.failed else 0


Shaped = Callable[[dict[str, Any]], dict[str, Any]]


def _shape_of(
    task: ModuleType, asked: dict[str, Any], target: Path
) -> tuple[Sequence[str], Shaped]:
    """The columns of the output, and how a result becomes a row: JSON lines hold all of it."""
    if target.suffix.lower() == ".csv" and hasattr(task, "table_row"):
        return task.table_columns(asked), task.table_row
    return [f.encode_name for f in msgspec.structs.fields(task.RESULT)], dict


def _request_of(task: ModuleType, asked: dict[str, Any], row: Row) -> ReadyRequest | BadRequest:
    """The request of a row; the error where its cells are none."""
    if row.error:
        return BadRequest(row.error)
    kinds = {f.name: f.kind for f in fields_of(task)}
    own: dict[str, Any] = {
        name: _cell_values(text) if kinds[name] == "texts" else text
        for name, text in row.fields.items()
    }
    try:
        return msgspec.convert({**asked, **own, "batch": True}, request_of(task), strict=False)
    except msgspec.ValidationError as why:
        return BadRequest(str(why))


def _cell_values(text: str) -> list[str]:
    """Several values in one cell, between semicolons."""
    return [part.strip() for part in text.split(";") if part.strip()]


class _Batch:
    """How far a batch is, and what it met."""

    def __init__(self, table: Table, total: int, shaped: Shaped) -> None:
        self.rows: list[tuple[str, str]] = []
        self.failed = 0
        self._table = table
        self._shaped = shaped
        self._total = total
        self._found = 0
        self._failures = 0

    def do(self, door: Door, row: Row, request: ReadyRequest | BadRequest) -> None:
        """One row, unless it is done. Raises DimoraError for what would stop every row."""
        digest = hash_of(request if isinstance(request, ReadyRequest) else row)
        self.rows.append((row.name, digest))
        if self._table.has(digest):
            self._found += 1
            return
        try:
            if isinstance(request, BadRequest):
                raise request
            self._table.add(row.name, digest, self._shaped(_result(door, request)))
            self._failures = 0
            self._tell(row.name, "")
        except UnsupportedFeature:
            raise
        except (BadRequest, InternalError) as why:
            self._failures = self._failures + 1 if isinstance(why, InternalError) else 0
            if self._failures >= _FAILURES_AT_MOST:
                raise
            self.failed += 1
            self._table.add(row.name, digest, None, f"{why.code}: {why.message}")
            self._tell(row.name, why.message)

    def _tell(self, name: str, error: str) -> None:
        told = f"{len(self.rows)}/{self._total} {name}"
        click.echo(harmless(f"{told}: {error}" if error else told), err=True)

    def words(self) -> str:
        done = len(self.rows) - self.failed - self._found
        parts = [f"{done} done"]
        parts += [f"{self._found} were there"] if self._found else []
        parts += [f"{self.failed} failed"] if self.failed else []
        return ", ".join(parts)


def _result(door: Door, request: ReadyRequest) -> dict[str, Any]:
    found: dict[str, Any] | None = None
    with closing(door.ask(request)) as events:
        found = next(_results(events), None)
        for _ in events:
            # To its end: what was used is recorded there.
            pass
    if found is None:
        raise InternalError("the task gave no result")
    return found


def _results(events: Iterator[Any]) -> Iterator[dict[str, Any]]:
    return (event.result for event in events if isinstance(event, Answered))
