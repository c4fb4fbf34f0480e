"""The one place where the file of a workspace is opened.

One SQLite file holds all a workspace knows. Several threads and processes may use it at once: one
writes at a time, and those who read see what was whole when they began.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from sqlcipher3 import dbapi2

from dimora.core.errors import ConfigurationError, Conflict, DimoraError, InternalError, StorageFull
from dimora.knowledge import schema
from dimora.storage.disk import disk_errors, make_private_directory, settle_directory

PLACE = "the knowledge of this workspace"
# How long one waits for another process that writes.
_PATIENCE_SECONDS = 20.0
_PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
# Windows keeps these for devices, whatever their ending.
_DEVICES = re.compile(r"con|prn|aux|nul|com\d|lpt\d")
_MEMORY = ":memory:"


def file_name(workspace: str) -> str:
    """A workspace's file: its name where that is a plain one, else what is plain of it and its
    digest, after a `~` that no plain one has."""
    if _PLAIN_NAME.fullmatch(workspace) and not _DEVICES.fullmatch(workspace):
        return f"{workspace}.db"
    plain = re.sub(r"[^a-z0-9_-]+", "-", workspace.lower()).strip("-")[:40]
    return f"{plain}~{hashlib.sha256(workspace.encode()).hexdigest()[:16]}.db"


class WorkspaceFile:
    """The file at `path`; made when somebody first writes. Its methods block."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = _Seat()
        self._reader = _Seat()
        # Whoever wrote last may have been killed before it came to wiping.
        self._leftovers = True

    @contextlib.contextmanager
    def reading(self) -> Iterator[Any]:
        """A connection that sees one state of the file; one thread at a time."""
        with self._reader.lock, file_errors():
            connection = self._open(self._reader, make=False)
            with _transaction(connection, "BEGIN"):
                yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Any]:
        """A connection whose changes are all kept, or none of them.

        Raises Conflict when another process goes on writing, StorageFull, ConfigurationError.
        """
        with self._writer.lock, file_errors():
            connection = self._open(self._writer, make=True)
            with _transaction(connection, "BEGIN IMMEDIATE"):
                yield connection
            if self._leftovers:
                self._wipe(connection)

    def wipe(self) -> None:
        """Leave nothing of what was deleted in the file or its log, and give back its room.

        Where somebody still reads an older state it is done when the file is next written.
        """
        with self._writer.lock, file_errors():
            self._wipe(self._open(self._writer, make=True))

    def close(self) -> None:
        """Safe to call twice; the file is opened again when it is asked for."""
        for seat in (self._reader, self._writer):
            with seat.lock:
                seat.leave()

    def _wipe(self, connection: Any) -> None:
        self._leftovers = True
        connection.execute("PRAGMA incremental_vacuum").fetchall()
        # What was overwritten is in the log, and in the file as it was, until they are one again.
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self._leftovers = bool(busy)

    def _open(self, seat: _Seat, *, make: bool) -> Any:
        # An empty place is read as an empty file, which nobody has to be able to write.
        path = str(self._path) if make or self._path.exists() else _MEMORY
        if seat.connection is None or seat.path != path:
            seat.leave()
            if make:
                self._make()
            seat.connection, seat.path = _connected(path), path
        return seat.connection

    def _make(self) -> None:
        directory = self._path.parent
        make_private_directory(directory)
        if os.name != "nt" and directory.stat().st_mode & 0o077:
            directory.chmod(0o700)
        # SQLite gives the files beside it the rights of this one.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            settle_directory(directory)


class _Seat:
    """A connection and the lock of whoever uses it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.connection: Any = None
        self.path = ""

    def leave(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            with contextlib.suppress(dbapi2.Error):
                connection.close()


@contextlib.contextmanager
def _transaction(connection: Any, begin: str) -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(dbapi2.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise


def _connected(path: str) -> Any:
    """An open connection to a file of this version."""
    connection = dbapi2.connect(
        path, timeout=_PATIENCE_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -16000")
        if _is_empty(connection):
            # These hold only where they are set before anything is written.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
        _bring_up(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_empty(connection: Any) -> bool:
    return not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def _bring_up(connection: Any) -> None:
    """Raises ConfigurationError for a file that is another program's or a newer Dimora's."""
    if _version(connection) == schema.VERSION:
        return
    with _transaction(connection, "BEGIN IMMEDIATE"):
        # Another process may have been here before us.
        version = _version(connection)
        for upgrade in schema.UPGRADES[version:]:
            upgrade(connection)
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {schema.VERSION}")


def _version(connection: Any) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    program = connection.execute("PRAGMA application_id").fetchone()[0]
    if program != schema.APPLICATION_ID and not (version == 0 and _is_empty(connection)):
        raise ConfigurationError(
            f"the file of {PLACE} belongs to another program",
            hint="move it out of the folder `knowledge` of the home",
            code="knowledge_foreign",
        )
    if version > schema.VERSION:
        raise ConfigurationError(
            f"the file of {PLACE} was made by a newer Dimora",
            hint="use that version, or move the file out of the folder `knowledge` of the home",
            code="knowledge_newer",
        )
    return version


@contextlib.contextmanager
def file_errors() -> Iterator[None]:
    """Turns what SQLite says into errors of the house, which have no words of documents in them."""
    try:
        with disk_errors(PLACE):
            yield
    except dbapi2.Error as why:
        raise _told(getattr(why, "sqlite_errorcode", None) or 0, str(why)) from None
    except (UnicodeDecodeError, msgspec.MsgspecError):
        # Rows that SQLite took for whole.
        raise damaged() from None


# The primary result codes of SQLite, https://sqlite.org/rescode.html.
_BUSY, _LOCKED, _READ_ONLY, _IO, _CORRUPT, _FULL, _CANNOT_OPEN, _NO_DATABASE = (
    *(5, 6, 8, 10, 11, 13, 14, 26),
)


def _told(code: int, words: str) -> DimoraError:
    code &= 0xFF
    if code == _NO_DATABASE or "not a database" in words:
        return ConfigurationError(
            f"the file of {PLACE} is no database",
            hint="move it out of the folder `knowledge` of the home, or bring back a copy of it",
            code="knowledge_foreign",
        )
    if code == _CORRUPT or "malformed" in words or "decode to UTF-8" in words:
        return damaged()
    if code == _FULL:
        return StorageFull(
            f"there is no room left for {PLACE}",
            hint="free space on that disk and try again; whole documents are kept",
        )
    if code in (_BUSY, _LOCKED):
        return Conflict(
            f"{PLACE} is being changed by another process", hint="try again in a moment"
        )
    if code in (_READ_ONLY, _CANNOT_OPEN):
        return ConfigurationError(
            f"{PLACE} cannot be written",
            hint="check the owner and rights of the folder `knowledge` of the home",
            code="knowledge_read_only",
        )
    if code == _IO:
        return InternalError(
            f"the disk of {PLACE} failed", hint="look after that disk", code="disk_failed"
        )
    return InternalError(f"{PLACE} cannot be used", hint="this is a defect of Dimora")


def damaged() -> InternalError:
    """What is told of a file whose content makes no sense."""
    return InternalError(
        f"the file of {PLACE} is damaged",
        hint="bring back a copy of it, or move it out of the folder `knowledge` of the home and"
        " add the documents again",
        code="knowledge_damaged",
    )
