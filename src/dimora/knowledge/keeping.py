"""Keeps the collections of one workspace: what is put in, what is taken out, what is there."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

import msgspec

from dimora.core.errors import BadRequest, Conflict
from dimora.knowledge import cutting, terms
from dimora.knowledge.finding import Search, find
from dimora.knowledge.rows import (
    DOCUMENT_COLUMNS,
    PIECE_COLUMNS,
    CollectionRow,
    add_words,
    collection_row,
    document_of,
    find_document,
    leaves_traces,
    piece_of,
    read_collections,
    terms_written,
    written,
)
from dimora.knowledge.schema import drop_words, make_words, words_table
from dimora.knowledge.vectors import Matrices, packed, unpacked
from dimora.knowledge.workspace_file import WorkspaceFile
from dimora.tasks.knowing import (
    Collection,
    KnownDocument,
    Offered,
    Passage,
    Piece,
    require_same_weights,
)

_NAME = re.compile(r"[\w][\w .:@+~-]{0,127}")
# From here on it is quicker to write the whole index of words anew than to take pieces out of it.
_MANY_PIECES = 400
_SAME_SECOND = 2.0


class Keeper:
    """The collections in the file at `path`. Its methods block, and may be called in any thread.
    `embedder_name` gives the one name a model has, however it was written."""

    def __init__(self, path: Path, embedder_name: Callable[[str], str] = str) -> None:
        self._embedder_name = embedder_name
        self._file = WorkspaceFile(path)
        self._matrices = Matrices()
        self._words_settled = False

    def close(self) -> None:
        self._file.close()

    def collections(self) -> list[Collection]:
        with self._file.reading() as connection:
            return self._read(connection)

    def collection(self, name: str) -> Collection:
        with self._file.reading() as connection:
            collection_row(connection, name)
            return self._read(connection, name)[0]

    def make_collection(self, name: str, embedder: str, *, hidden: bool) -> Collection:
        if not _NAME.fullmatch(name) or not embedder:
            raise BadRequest(
                "that is no name for a collection",
                hint="up to 128 letters, digits, blanks and - _ . : @ + ~",
                param="name",
            )
        embedder = self._embedder_name(embedder)
        with self._file.reading() as connection:
            there = self._read(connection, name)
        if not there:
            with self._file.writing() as connection:
                _renew_words(connection)
                _make_collection(connection, name, embedder, hidden=hidden)
                there = self._read(connection, name)
        if there[0].embedder != embedder:
            raise Conflict(
                f"the collection {name!r} was made with {there[0].embedder!r}",
                hint="use that model, or make a collection of another name",
                code="collection_exists",
            )
        return there[0]

    def change_collection(
        self, name: str, folders: Sequence[str] | None, about: str | None
    ) -> Collection:
        if folders is not None:
            last = [PurePath(folder).name for folder in dict.fromkeys(folders)]
            if len(set(last)) < len(last):
                raise Conflict(
                    "two folders of one collection have the same name",
                    hint="the documents of one would take the place of those of the other:"
                    " make another collection for it",
                )
        with self._file.writing() as connection:
            row = collection_row(connection, name).row
            if folders is not None:
                value = written(tuple(dict.fromkeys(folders)))
                connection.execute("UPDATE collections SET folders = ? WHERE row = ?", (value, row))
            if about is not None:
                connection.execute("UPDATE collections SET about = ? WHERE row = ?", (about, row))
            return self._read(connection, name)[0]

    def _read(self, connection: Any, name: str | None = None) -> list[Collection]:
        """Older files have the names of embedders as somebody typed them."""
        return [
            msgspec.structs.replace(each, embedder=self._embedder_name(each.embedder))
            for each in read_collections(connection, name)
        ]

    def drop_collection(self, name: str) -> None:
        with self._file.writing() as connection:
            row = collection_row(connection, name).row
            drop_words(connection, row)
            connection.execute("DELETE FROM collections WHERE row = ?", (row,))
        self._file.wipe()
        with self._file.reading():
            self._matrices.forget([row])

    def documents(self, collection: str) -> list[KnownDocument]:
        with self._file.reading() as connection:
            row = collection_row(connection, collection).row
            return [
                document_of(found)
                for found in connection.execute(
                    f"SELECT {DOCUMENT_COLUMNS} FROM documents d WHERE d.collection = ?"
                    " ORDER BY d.name",
                    (row,),
                )
            ]

    def document(self, collection: str, document: str) -> KnownDocument:
        with self._file.reading() as connection:
            row = collection_row(connection, collection).row
            return find_document(connection, row, document)[1]

    def is_known(
        self, collection: str, offered: Offered, digest: Callable[[], str]
    ) -> KnownDocument | None:
        """`digest` reads the file, and is called only where its size and time do not tell."""
        with self._file.reading() as connection:
            row = collection_row(connection, collection).row
            found = connection.execute(
                f"SELECT d.row, d.cutting, {DOCUMENT_COLUMNS} FROM documents d"
                " WHERE d.collection = ? AND d.name = ?",
                (row, offered.name),
            ).fetchone()
        if found is None:
            return None
        known = document_of(found[2:])
        if known.error or found[1] != cutting.VERSION:
            return None
        if _looks_unchanged(known, offered):
            return known
        if digest() != known.digest:
            return None
        # Touched, or copied: next time its time tells.
        told = (offered.modified_at, offered.size_bytes or known.size_bytes)
        if told == (known.modified_at, known.size_bytes):
            return known
        with self._file.writing() as connection:
            connection.execute(
                "UPDATE documents SET modified_at = ?, size_bytes = ? WHERE row = ?",
                (*told, found[0]),
            )
        return msgspec.structs.replace(known, modified_at=told[0], size_bytes=told[1])

    def put(
        self,
        collection: str,
        document: KnownDocument,
        pieces: Sequence[Piece],
        vectors: Sequence[Sequence[float]],
        weights: str = "",
    ) -> KnownDocument:
        if len(pieces) != len(vectors):
            raise BadRequest("each piece of a document needs one vector")
        # All that can be made beforehand: others wait while a writer writes.
        width, data = packed(vectors)
        words = [terms_written(piece) for piece in pieces]
        with self._file.writing() as connection:
            _renew_words(connection)
            row = collection_row(connection, collection)
            _settle_width(connection, row, width)
            old = connection.execute(
                "SELECT row, id FROM documents WHERE collection = ? AND name = ?",
                (row.row, document.name),
            ).fetchone()
            if old and document.id not in ("", old[1]):
                raise Conflict(
                    "another document of the collection has this name", code="document_exists"
                )
            if old:
                _erase(connection, row.row, old[0])
            if vectors:
                _settle_weights(connection, row, weights)
            kept = msgspec.structs.replace(
                document,
                id=document.id or (old[1] if old else f"doc-{uuid.uuid4().hex}"),
                chunks=len(pieces),
                tokens=sum(piece.tokens for piece in pieces),
                added_at=time.time(),
            )
            taken = connection.execute(
                "SELECT 1 FROM documents WHERE collection = ? AND id = ?", (row.row, kept.id)
            ).fetchone()
            if taken:
                raise Conflict("another document of the collection has this id")
            new = _insert(connection, row.row, kept, pieces, words)
            add_words(connection, row.row, list(zip(new, words, strict=True)))
            if new:
                connection.execute(
                    "INSERT INTO vectors (document, first_piece, data)"
                    " SELECT document, row, ? FROM pieces WHERE row = ?",
                    (data, new[0]),
                )
            _note_change(connection, row.row)
        if old:
            self._file.wipe()
        return kept

    def copy(self, collection: str, document: str, target: str, name: str) -> KnownDocument:
        with self._file.reading() as connection:
            source, _ = (collection_row(connection, each) for each in (collection, target))
            embedders = {self._read(connection, each)[0].embedder for each in (collection, target)}
            at, known = find_document(connection, source.row, document)
            pieces = [piece_of(found) for _, found in _pieces(connection, at)]
            data = connection.execute(
                "SELECT data FROM vectors WHERE document = ?", (at,)
            ).fetchone()
        if len(embedders) != 1:
            raise Conflict(
                "the two collections were made with different embedding models",
                hint="add the document itself to the other one",
            )
        vectors = unpacked(data[0], len(pieces)) if data else []
        copied = msgspec.structs.replace(known, name=name)
        return self.put(target, copied, pieces, vectors, source.weights)

    def remove(self, collection: str, document: str) -> KnownDocument:
        with self._file.writing() as connection:
            _renew_words(connection)
            row = collection_row(connection, collection)
            at, known = find_document(connection, row.row, document)
            _erase(connection, row.row, at)
            _note_change(connection, row.row)
        self._file.wipe()
        return known

    def find(self, search: Search) -> list[Passage]:
        self._settle_words()
        with self._file.reading() as connection:
            return find(connection, self._matrices, search)

    def around(self, passage: Passage, before: int, after: int) -> list[Piece]:
        number = passage.piece.number
        with self._file.reading() as connection:
            rows = connection.execute(
                f"SELECT {PIECE_COLUMNS} FROM pieces p JOIN documents d ON d.row = p.document"
                " JOIN collections c ON c.row = d.collection"
                " WHERE c.name = ? AND d.id = ? AND p.number BETWEEN ? AND ? AND p.number <> ?"
                " ORDER BY p.number",
                (
                    passage.collection,
                    passage.document_id,
                    number - before,
                    number + after,
                    number,
                ),
            ).fetchall()
            return [piece_of(row) for row in rows]

    def _settle_words(self) -> None:
        if self._words_settled:
            return
        with self._file.reading() as connection:
            settled = _words_version(connection) in ("", terms.VERSION)
        if not settled:
            with self._file.writing() as connection:
                _renew_words(connection)
        self._words_settled = True

    def pieces(self, collection: str, document: str) -> list[Piece]:
        """All of a document."""
        with self._file.reading() as connection:
            row = collection_row(connection, collection).row
            at, _ = find_document(connection, row, document)
            return [piece_of(found) for _, found in _pieces(connection, at)]


def _make_collection(connection: Any, name: str, embedder: str, *, hidden: bool) -> None:
    if read_collections(connection, name):
        return  # Another process was quicker.
    now = time.time()
    made = connection.execute(
        "INSERT INTO collections (name, embedder, hidden, created_at, changed_at)"
        " VALUES (?, ?, ?, ?, ?)",
        (name, embedder, hidden, now, now),
    )
    make_words(connection, made.lastrowid)


def _looks_unchanged(known: KnownDocument, offered: Offered) -> bool:
    if offered.digest:
        return offered.digest == known.digest
    same = offered.modified_at == known.modified_at and offered.size_bytes == known.size_bytes
    # A file that was read in the second it was written may have been written again in it.
    return same and 0 < offered.modified_at < known.added_at - _SAME_SECOND


def _settle_width(connection: Any, collection: CollectionRow, width: int) -> None:
    if not width or width == collection.dimensions:
        return
    if collection.dimensions:
        raise BadRequest(
            f"vectors of the collection have {collection.dimensions} numbers, these {width}",
            hint="a collection keeps the model it was made with",
            code="wrong_dimensions",
        )
    connection.execute(
        "UPDATE collections SET dimensions = ? WHERE row = ?", (width, collection.row)
    )


def _settle_weights(connection: Any, collection: CollectionRow, weights: str) -> None:
    """A collection without vectors takes those of whichever weights come; one whose weights are not
    known, too."""
    has_vectors = connection.execute(
        "SELECT 1 FROM vectors v JOIN documents d ON d.row = v.document"
        " WHERE d.collection = ? LIMIT 1",
        (collection.row,),
    ).fetchone()
    if has_vectors:
        require_same_weights(collection.name, collection.weights, weights)
    if not has_vectors or (weights and not collection.weights):
        connection.execute(
            "UPDATE collections SET weights = ? WHERE row = ?", (weights, collection.row)
        )


def _note_change(connection: Any, collection: int) -> None:
    connection.execute(
        "UPDATE collections SET state = state + 1, changed_at = ? WHERE row = ?",
        (time.time(), collection),
    )


def _insert(
    connection: Any,
    collection: int,
    document: KnownDocument,
    pieces: Sequence[Piece],
    words: Sequence[str],
) -> list[int]:
    """The rows of the pieces."""
    at = connection.execute(
        "INSERT INTO documents (collection, id, name, digest, media_type, size_bytes, modified_at,"
        " added_at, pages, chunks, tokens, language, invisible, error, warnings, cutting)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            collection,
            document.id,
            document.name,
            document.digest,
            document.media_type,
            document.size_bytes,
            document.modified_at,
            document.added_at,
            document.pages,
            document.chunks,
            document.tokens,
            document.language,
            document.invisible,
            document.error,
            written(document.warnings),
            cutting.VERSION,
        ),
    ).lastrowid
    return [
        connection.execute(
            "INSERT INTO pieces"
            " (document, number, text, tokens, headings, page, last_page, place, terms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                at,
                number,
                piece.text,
                piece.tokens,
                written(piece.headings),
                piece.page,
                piece.last_page,
                piece.place,
                terms,
            ),
        ).lastrowid
        for number, (piece, terms) in enumerate(zip(pieces, words, strict=True))
    ]


def _pieces(connection: Any, document: int) -> Iterator[tuple[int, Sequence[Any]]]:
    """Rows of pieces, and their columns."""
    for row, *columns in connection.execute(
        f"SELECT p.row, {PIECE_COLUMNS} FROM pieces p WHERE p.document = ? ORDER BY p.number",
        (document,),
    ).fetchall():
        yield row, columns


def _erase(connection: Any, collection: int, document: int) -> None:
    """Take a document out, and every word of it out of the index."""
    table = words_table(collection)
    gone = connection.execute(
        "SELECT row, terms FROM pieces WHERE document = ?", (document,)
    ).fetchall()
    anew = len(gone) > _MANY_PIECES or leaves_traces(
        connection, collection, [words for _, words in gone]
    )
    if anew:
        connection.execute(f"INSERT INTO {table} ({table}, rank) VALUES ('secure-delete', 0)")
    connection.executemany(
        f"INSERT INTO {table} ({table}, rowid, terms) VALUES ('delete', ?, ?)", gone
    )
    if anew:
        connection.execute(f"INSERT INTO {table} ({table}) VALUES ('optimize')")
        connection.execute(f"INSERT INTO {table} ({table}, rank) VALUES ('secure-delete', 1)")
    connection.execute("DELETE FROM documents WHERE row = ?", (document,))


def _words_version(connection: Any) -> str:
    found = connection.execute("SELECT value FROM facts WHERE name = 'terms'").fetchone()
    return str(found[0]) if found else ""


def _renew_words(connection: Any) -> None:
    """Make the indexes of words anew where they were made of terms of another kind."""
    made_by = _words_version(connection)
    if made_by == terms.VERSION:
        return
    if made_by:
        for (row,) in connection.execute("SELECT row FROM collections").fetchall():
            drop_words(connection, row)
            make_words(connection, row)
            for (document,) in connection.execute(
                "SELECT row FROM documents WHERE collection = ?", (row,)
            ).fetchall():
                made = [
                    (at, terms_written(piece_of(found)))
                    for at, found in _pieces(connection, document)
                ]
                connection.executemany("UPDATE pieces SET terms = ?2 WHERE row = ?1", made)
                add_words(connection, row, made)
    connection.execute("INSERT OR REPLACE INTO facts VALUES ('terms', ?)", (terms.VERSION,))
