"""Rows of the tables as the values tasks know, and back."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from dimora.core.errors import NotFound
from dimora.knowledge.schema import words_table
from dimora.knowledge.terms import terms_of
from dimora.tasks.knowing import Collection, KnownDocument, Piece

_PIECE = "number, text, tokens, headings, page, last_page, place"
_DOCUMENT = (
    "id, name, digest, media_type, size_bytes, modified_at, added_at, pages, chunks, tokens,"
    " language, invisible, error, warnings"
)
DOCUMENT_COLUMNS = ", ".join(f"d.{column}" for column in _DOCUMENT.replace("\n", "").split(", "))
PIECE_COLUMNS = ", ".join(f"p.{column}" for column in _PIECE.split(", "))


def texts_of(written: str) -> tuple[str, ...]:
    return msgspec.json.decode(written, type=tuple[str, ...])


def written(texts: Sequence[str]) -> str:
    return msgspec.json.encode(tuple(texts)).decode()


class CollectionRow(msgspec.Struct, frozen=True):
    """What searching and writing have to know of a collection. `state` changes with its content."""

    row: int
    name: str
    embedder: str
    weights: str
    dimensions: int
    state: int


def collection_row(connection: Any, name: str) -> CollectionRow:
    """Raises NotFound."""
    found = connection.execute(
        "SELECT row, name, embedder, weights, dimensions, state FROM collections WHERE name = ?",
        (name,),
    ).fetchone()
    if found is None:
        raise NotFound(
            f"there is no collection {name!r}",
            hint="`dimora knowledge list` names those there are",
            code="collection_not_found",
        )
    return CollectionRow(*found)


def read_collections(connection: Any, name: str | None = None) -> list[Collection]:
    """By name; only the one of this name, if it is given."""
    rows = connection.execute(
        "SELECT c.name, c.embedder, c.weights, c.dimensions, c.hidden, c.about, c.folders,"
        " c.created_at, c.changed_at, count(d.row), coalesce(sum(d.error <> ''), 0),"
        " coalesce(sum(d.chunks), 0), coalesce(sum(d.size_bytes), 0)"
        " FROM collections c LEFT JOIN documents d ON d.collection = c.row"
        " WHERE ?1 IS NULL OR c.name = ?1 GROUP BY c.row ORDER BY c.name",
        (name,),
    ).fetchall()
    return [
        Collection(
            name=row[0],
            embedder=row[1],
            weights=row[2],
            dimensions=row[3],
            hidden=bool(row[4]),
            about=row[5],
            folders=texts_of(row[6]),
            created_at=row[7],
            changed_at=row[8],
            documents=row[9] - row[10],
            failed=row[10],
            chunks=row[11],
            size_bytes=row[12],
        )
        for row in rows
    ]


def document_of(row: Sequence[Any]) -> KnownDocument:
    """Of the columns DOCUMENT_COLUMNS."""
    return KnownDocument(
        id=row[0],
        name=row[1],
        digest=row[2],
        media_type=row[3],
        size_bytes=row[4],
        modified_at=row[5],
        added_at=row[6],
        pages=row[7],
        chunks=row[8],
        tokens=row[9],
        language=row[10],
        invisible=row[11],
        error=row[12],
        warnings=texts_of(row[13]),
    )


def find_document(connection: Any, collection: int, document: str) -> tuple[int, KnownDocument]:
    """By id or name: its row, and itself. Raises NotFound."""
    found = connection.execute(
        f"SELECT d.row, {DOCUMENT_COLUMNS} FROM documents d"
        # An id goes before a name that looks like one.
        " WHERE d.collection = ?1 AND (d.id = ?2 OR d.name = ?2) ORDER BY d.id = ?2 DESC LIMIT 1",
        (collection, document),
    ).fetchone()
    if found is None:
        raise NotFound(
            "there is no such document in the collection",
            hint="`dimora knowledge list NAME` names those there are",
            code="document_not_found",
        )
    return found[0], document_of(found[1:])


def piece_of(row: Sequence[Any]) -> Piece:
    """Of the columns PIECE_COLUMNS."""
    return Piece(
        number=row[0],
        text=row[1],
        tokens=row[2],
        headings=texts_of(row[3]),
        page=row[4],
        last_page=row[5],
        place=row[6],
    )


def terms_written(piece: Piece) -> str:
    """What the index of words has of a piece."""
    return " ".join(terms_of(piece.words))


def add_words(connection: Any, collection: int, rows: Sequence[tuple[int, str]]) -> None:
    """Of pieces, by their rows."""
    table = words_table(collection)
    connection.executemany(f"INSERT INTO {table} (rowid, terms) VALUES (?, ?)", rows)


def leaves_traces(connection: Any, collection: int, gone: Sequence[str]) -> bool:
    """Whether a word would stay in the index after all pieces with it were deleted. `gone` has the
    terms of each piece that goes.

    Where a page of the index begins, FTS5 keeps the beginning of its first word beside it, as far
    as that tells it from the word before, and `secure-delete` leaves it there
    (https://sqlite.org/fts5.html#the_secure_delete_configuration_option). While another word that
    stays begins so, it tells nothing.
    """
    table = words_table(collection)
    count = Counter(term.encode() for terms in gone for term in set(terms.split()))
    ordered = sorted(count)
    for (kept,) in connection.execute(f"SELECT term FROM {table}_idx").fetchall():
        # The first byte says which index of the table it is.
        begin = bytes(kept)[1:]
        at = bisect_left(ordered, begin)
        if begin and at < len(ordered) and ordered[at].startswith(begin):
            staying = (term for term, n in _beginning(connection, table, begin) if n > count[term])
            if next(staying, None) is None:
                return True
    return False


def _beginning(connection: Any, table: str, begin: bytes) -> Iterator[tuple[bytes, int]]:
    """The terms that begin with these bytes, and how many pieces have each."""
    # The bytes may end within a letter.
    first = begin.decode(errors="ignore")
    for term, pieces in connection.execute(
        f"SELECT term, doc FROM {table}_terms WHERE term >= ?", (first,)
    ):
        if term.encode().startswith(begin):
            yield term.encode(), pieces
        elif term.encode() > begin:
            return
