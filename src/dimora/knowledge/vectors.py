"""Vectors of a collection in memory, and which of them are nearest to one. They are compared with
every one there is: exact, and as fast as memory is read.

On the disk a number has 16 bits: that changes cosines in the fourth place.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dimora.core.errors import BadRequest
from dimora.knowledge.across import Across, across
from dimora.knowledge.workspace_file import damaged

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
# Of all collections of a workspace together; the one that was asked least lately goes first.
_MOST_BYTES = 2**30


def packed(vectors: Sequence[Sequence[float]]) -> tuple[int, bytes]:
    """Width of the vectors, and their bytes for `vectors.data`, brought to length one.

    Raises BadRequest where they differ in width or are no numbers.
    """
    widths = {len(vector) for vector in vectors}
    if len(widths) > 1:
        raise BadRequest("vectors of one document differ in width")
    if not vectors:
        return 0, b""
    made = np.asarray(vectors, np.float32)
    if not np.isfinite(made).all() or 0 in widths:
        raise BadRequest("a vector is empty or has a part that is no number")
    return made.shape[1], _unit(made).astype(np.float16).tobytes()


def unpacked(data: bytes, count: int) -> list[list[float]]:
    """The vectors again, as far as 16 bits have them."""
    made = np.frombuffer(data, np.float16).reshape(count, -1)
    return [[float(each) for each in row] for row in made]


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)


class Matrix:
    """The vectors of a collection at one state. `pieces` are rows of pieces, ascending;
    `documents` the row of the document each is of."""

    def __init__(self, width: int) -> None:
        self.state = -1
        self.pieces: Rows = np.empty(0, np.int64)
        self.documents: Rows = np.empty(0, np.int64)
        self._vectors: Floats = np.empty((0, width), np.float32)
        self._languages: dict[int, str] = {}
        self._across: Across | None = None
        self._across_state = -1

    @property
    def size_bytes(self) -> int:
        return self._vectors.nbytes

    def nearest(
        self, vector: Sequence[float], most: int, among: Mask | None
    ) -> list[tuple[int, float]]:
        """Rows of pieces and their cosines, nearest first; `among` leaves pieces out."""
        if not len(self.pieces):
            return []
        return self._best(self._compared(self._question(vector)), most, among)

    def nearest_both(
        self, vector: Sequence[float], language: str, most: int, among: Mask | None
    ) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
        """The nearest, and the nearest without what is common to a language, see `across`: none
        where the collection has one language, or not that of the question."""
        if not len(self.pieces):
            return [], []
        question = self._question(vector)
        cosines = self._compared(question)
        known = self._known_across()
        if known is None or not language or language not in known.languages:
            return self._best(cosines, most, among), []
        scores = known.scores(cosines, question, language)
        return self._best(cosines, most, among), self._best(scores, most, among)

    def _compared(self, question: Floats) -> Floats:
        # Row by row on one core: memory is the limit, and a product on all cores waits for threads
        # where others compute.
        return np.asarray(np.vecdot(self._vectors, question), np.float32)

    def _known_across(self) -> Across | None:
        if self._across_state != self.state:
            documents, of = np.unique(self.documents, return_inverse=True)
            languages = [self._languages.get(int(row), "") for row in documents]
            self._across = across(self._vectors, [languages[at] for at in of])
            self._across_state = self.state
        return self._across

    def _best(self, scores: Floats, most: int, among: Mask | None) -> list[tuple[int, float]]:
        if among is not None:
            scores[~among] = -np.inf
        if most < len(scores):
            best = np.argpartition(-scores, most - 1)[:most]
        else:
            best = np.arange(len(scores))
        best = best[np.lexsort((best, -scores[best]))]
        return [(int(self.pieces[at]), float(scores[at])) for at in best if scores[at] > -np.inf]

    def cosines(self, vector: Sequence[float], pieces: Sequence[int]) -> dict[int, float]:
        """Of those of the pieces that are here."""
        places = self.places(np.asarray(pieces, np.int64))
        found = self._vectors[places[places >= 0]] @ self._question(vector)
        known = [piece for piece, at in zip(pieces, places, strict=True) if at >= 0]
        return dict(zip(known, found.tolist(), strict=True))

    def places(self, pieces: Rows) -> Rows:
        """Where each of the pieces is in the arrays, -1 for those that are not here."""
        if not len(self.pieces):
            return np.full(len(pieces), -1, np.int64)
        places = np.minimum(np.searchsorted(self.pieces, pieces), len(self.pieces) - 1)
        return np.where(self.pieces[places] == pieces, places, -1).astype(np.int64)

    def _question(self, vector: Sequence[float]) -> Floats:
        width = self._vectors.shape[1]
        if len(vector) != width:
            raise BadRequest(
                f"the question's vector has {len(vector)} numbers, those of the collection {width}",
                hint="questions are embedded by the model the collection was made with",
                code="wrong_dimensions",
            )
        return _unit(np.asarray(vector, np.float32))

    def follow(self, connection: Any, collection: int, state: int) -> None:
        """Become the collection's state as this connection sees it; what was read stays."""
        if state == self.state:
            return
        rows = connection.execute(
            "SELECT v.document, d.language FROM vectors v JOIN documents d ON d.row = v.document"
            " WHERE d.collection = ?",
            (collection,),
        ).fetchall()
        current = np.asarray([row for row, _ in rows], np.int64)
        self._languages = dict(rows)
        kept = np.isin(self.documents, current)
        missing = np.setdiff1d(current, self.documents).tolist()
        brought = [_read(connection, row, self._vectors.shape[1]) for row in missing]
        pieces = np.concatenate([self.pieces[kept], *(pieces for pieces, _ in brought)])
        documents = np.concatenate(
            [
                self.documents[kept],
                *(np.full(len(p), row) for row, (p, _) in zip(missing, brought, strict=True)),
            ]
        )
        vectors = np.concatenate([self._vectors[kept], *(vectors for _, vectors in brought)])
        # Documents are written one after another, so this is their order already, mostly.
        if len(pieces) and (np.diff(pieces) < 0).any():
            order = np.argsort(pieces)
            pieces, documents, vectors = pieces[order], documents[order], vectors[order]
        self.pieces, self.documents, self._vectors = pieces, documents, vectors
        self.state = state


def _read(connection: Any, document: int, width: int) -> tuple[Rows, Floats]:
    first, data = connection.execute(
        "SELECT first_piece, data FROM vectors WHERE document = ?", (document,)
    ).fetchone()
    if not data or len(data) % (2 * width):
        raise damaged()
    vectors = np.frombuffer(data, np.float16).reshape(-1, width).astype(np.float32)
    return np.arange(first, first + len(vectors), dtype=np.int64), vectors


class Matrices:
    """The matrices of a workspace, by the row of their collection; for one thread at a time."""

    def __init__(self) -> None:
        self._matrices: OrderedDict[int, Matrix] = OrderedDict()

    def of(self, connection: Any, collection: int, width: int, state: int) -> Matrix:
        matrix = self._matrices.setdefault(collection, Matrix(width))
        self._matrices.move_to_end(collection)
        if matrix.state < 0 and not matrix.size_bytes:
            matrix = self._matrices[collection] = Matrix(width)
        matrix.follow(connection, collection, state)
        while len(self._matrices) > 1 and self._size() > _MOST_BYTES:
            self._matrices.popitem(last=False)
        return matrix

    def forget(self, collections: Iterable[int]) -> None:
        for collection in collections:
            self._matrices.pop(collection, None)

    def _size(self) -> int:
        return sum(matrix.size_bytes for matrix in self._matrices.values())
