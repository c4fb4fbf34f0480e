"""The tables of a workspace's file, and how a file of an older Dimora becomes one of this.

A document's vectors lie in one row, in the order of its pieces, whose ids follow each other: a
document is written at once and never changed. Words are kept for each collection in a full-text
index without content, as terms of `terms` parted by spaces; the tokenizer only parts them. Each
piece has its own beside it: by them it is taken out of the index, and a search need not make them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# "Dimo": so that a file of another program is not taken for one of ours.
APPLICATION_ID = 0x44696D6F

_FIRST = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE collections (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    embedder TEXT NOT NULL,
    dimensions INTEGER NOT NULL DEFAULT 0,
    hidden INTEGER NOT NULL DEFAULT 0,
    about TEXT NOT NULL DEFAULT '',
    folders TEXT NOT NULL DEFAULT '[]',
    created_at REAL NOT NULL,
    changed_at REAL NOT NULL,
    state INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE documents (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    modified_at REAL NOT NULL,
    added_at REAL NOT NULL,
    pages INTEGER NOT NULL,
    chunks INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    language TEXT NOT NULL,
    invisible INTEGER NOT NULL,
    error TEXT NOT NULL,
    warnings TEXT NOT NULL,
    cutting TEXT NOT NULL,
    UNIQUE (collection, name),
    UNIQUE (collection, id)
);
CREATE TABLE pieces (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    number INTEGER NOT NULL,
    text TEXT NOT NULL,
    tokens INTEGER NOT NULL,
    headings TEXT NOT NULL,
    page INTEGER NOT NULL,
    last_page INTEGER NOT NULL,
    place TEXT NOT NULL,
    terms TEXT NOT NULL,
    UNIQUE (document, number)
);
CREATE TABLE vectors (
    document INTEGER PRIMARY KEY REFERENCES documents ON DELETE CASCADE,
    first_piece INTEGER NOT NULL,
    data BLOB NOT NULL
);
"""


def _make(connection: Any) -> None:
    for statement in _FIRST.split(";\n"):
        if statement.strip():
            connection.execute(statement)


def _keep_weights(connection: Any) -> None:
    """What the vectors of older collections were made with is not known."""
    connection.execute("ALTER TABLE collections ADD COLUMN weights TEXT NOT NULL DEFAULT ''")


# What leads from one version to the next: the first from nothing to 1.
UPGRADES: tuple[Callable[[Any], None], ...] = (_make, _keep_weights)
VERSION = len(UPGRADES)


def words_table(collection: int) -> str:
    """The name of a collection's full-text index; rows are not used twice."""
    return f"words_{collection}"


def make_words(connection: Any, collection: int) -> None:
    """Make the index of a collection; `..._terms` tells how many pieces have a term."""
    table = words_table(collection)
    connection.execute(
        f"CREATE VIRTUAL TABLE {table}"
        " USING fts5(terms, content='', detail='none', columnsize=0, tokenize='ascii')"
    )
    # What is deleted is taken out of the index, not only marked.
    connection.execute(f"INSERT INTO {table} ({table}, rank) VALUES ('secure-delete', 1)")
    connection.execute(f"CREATE VIRTUAL TABLE {table}_terms USING fts5vocab({table}, row)")


def drop_words(connection: Any, collection: int) -> None:
    table = words_table(collection)
    connection.execute(f"DROP TABLE IF EXISTS {table}_terms")
    connection.execute(f"DROP TABLE IF EXISTS {table}")
