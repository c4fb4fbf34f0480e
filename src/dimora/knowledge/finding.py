"""Finds pieces by meaning and by word, and makes one order of both.

By word: the index tells which pieces have the question's rarer terms; the most promising are
weighed with all of them (BM25, Robertson and Zaragoza 2009). By meaning: the nearest vectors, and
where a collection has several languages, the nearest across them. The orders are fused by rank
(reciprocal rank fusion, Cormack, Clarke and Buettcher 2009).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from dimora.core.languages import detect_language
from dimora.knowledge.rows import (
    PIECE_COLUMNS,
    CollectionRow,
    collection_row,
    piece_of,
)
from dimora.knowledge.schema import words_table
from dimora.knowledge.terms import question_terms
from dimora.knowledge.vectors import Mask, Matrices, Matrix, Rows
from dimora.tasks.knowing import Filters, Passage, Piece

# What each half brings to the fusion, at least, and how many of those found by word are weighed.
_CANDIDATES = 32
_WEIGHED = 20
# The constant of the fusion, and the weights of the nearest and of words where there are those that
# are nearest across languages: the best that bench/retrieval.py found with half of its questions.
_RANK = 10
_BESIDE_ACROSS, _WORDS_BESIDE_ACROSS = 0.5, 0.7
_K1, _B = 1.2, 0.75
# Rows that are read of the index, and terms of a question; the rarest terms go first.
_MOST_ROWS = 10_000
_MOST_TERMS = 24
# Pieces that share so many of their terms are one for a reader.
_ALIKE = 0.85


class _Found(NamedTuple):
    """A piece in one of the two orders: collection, row, and how good it is there."""

    collection: CollectionRow
    row: int
    score: float


class _Loaded(NamedTuple):
    document: str
    document_id: str
    piece: Piece
    terms: list[str]
    vocabulary: frozenset[str]


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for; see tasks.knowing.Knowledge.find."""

    collections: tuple[str, ...]
    question: str
    vector: tuple[float, ...]
    limit: int
    filters: Filters


def find(connection: Any, matrices: Matrices, search: Search) -> list[Passage]:
    """Raises NotFound, BadRequest."""
    return _Finder(connection, matrices, search).passages()


class _Finder:
    """One search, over one state of the file."""

    def __init__(self, connection: Any, matrices: Matrices, search: Search) -> None:
        self._connection = connection
        self._search = search
        self._terms = question_terms(search.question)[:_MOST_TERMS]
        self._most = max(_CANDIDATES, 3 * search.limit)
        self._loaded: dict[int, _Loaded] = {}
        rows = (collection_row(connection, name) for name in dict.fromkeys(search.collections))
        # One without dimensions has nothing to find.
        self._places = [
            (row, matrices.of(connection, row.row, row.dimensions, row.state))
            for row in rows
            if row.dimensions
        ]
        self._rarity: dict[str, float] = {}

    def passages(self) -> list[Passage]:
        holding = self._holding()
        by_meaning, across, by_word = self._candidates(holding)
        by_word = self._weighed(by_word)
        weights = (_BESIDE_ACROSS, 1.0, _WORDS_BESIDE_ACROSS) if across else (1.0, 0.0, 1.0)
        fused = _fused(*zip((by_meaning, across, by_word), weights, strict=True))
        told = list(self._told(fused))
        cosines = self._cosines(told)
        return [self._passage(one, cosines.get(one.row, -1.0)) for one in told]

    def _candidates(
        self, holding: dict[str, dict[int, int]]
    ) -> tuple[list[_Found], list[_Found], list[_Found]]:
        """The nearest, those across languages, and what has the question's rare words."""
        by_meaning: list[_Found] = []
        across: list[_Found] = []
        by_word: list[_Found] = []
        # Without words nobody knows the question's language.
        language = detect_language(self._search.question) if self._search.question else ""
        for collection, matrix in self._places:
            among = self._among(collection, matrix)
            if self._search.vector:
                near, far = matrix.nearest_both(self._search.vector, language, self._most, among)
                by_meaning += [_Found(collection, row, cosine) for row, cosine in near]
                across += [_Found(collection, row, score) for row, score in far]
            rare = self._promising(collection, matrix, holding, among)
            by_word += [_Found(collection, row, score) for row, score in rare]
        most = self._most
        return _best(by_meaning, most), _best(across, most), _best(by_word, most)

    def _holding(self) -> dict[str, dict[int, int]]:
        """How many pieces of each collection have each term of the question."""
        holding: dict[str, dict[int, int]] = {term: {} for term in self._terms}
        for collection, _ in self._places:
            table = words_table(collection.row)
            for term in self._terms:
                found = self._connection.execute(
                    f"SELECT doc FROM {table}_terms WHERE term = ?", (term,)
                ).fetchone()
                holding[term][collection.row] = found[0] if found else 0
        pieces = sum(len(matrix.pieces) for _, matrix in self._places)
        for term, counts in holding.items():
            has = min(sum(counts.values()), pieces)
            self._rarity[term] = math.log(1 + (pieces - has + 0.5) / (has + 0.5))
        return holding

    def _among(self, collection: CollectionRow, matrix: Matrix) -> Mask | None:
        """Which pieces the filters leave; None for all."""
        wanted = list(_conditions(self._search.filters))
        if not wanted:
            return None
        rows = self._connection.execute(
            "SELECT row FROM documents WHERE collection = ? AND "
            + " AND ".join(condition for condition, _ in wanted),
            (collection.row, *(value for _, values in wanted for value in values)),
        ).fetchall()
        return np.isin(matrix.documents, np.asarray([row for (row,) in rows], np.int64))

    def _promising(
        self,
        collection: CollectionRow,
        matrix: Matrix,
        holding: dict[str, dict[int, int]],
        among: Mask | None,
    ) -> list[tuple[int, float]]:
        """Rows of the pieces with the rarest of the question's terms, and how rare those are.

        Common terms would lead to a large part of all pieces, and tell least.
        """
        counts = sorted((holding[t][collection.row], t) for t in self._terms)
        places: list[Rows] = []
        weights: list[npt.NDArray[np.float64]] = []
        room = _MOST_ROWS
        for count, term in counts:
            if not count:
                continue
            if count > room and places:
                break
            table = words_table(collection.row)
            rows = self._connection.execute(
                f"SELECT rowid FROM {table} WHERE {table} MATCH ? LIMIT ?", (f'"{term}"', room)
            ).fetchall()
            found = matrix.places(np.array(rows, np.int64).reshape(-1))
            places.append(found)
            weights.append(np.full(len(found), self._rarity[term]))
            room -= count
        if not places or not len(matrix.pieces):
            return []
        scores = np.bincount(
            np.concatenate(places) + 1, np.concatenate(weights), len(matrix.pieces) + 1
        )[1:]
        if among is not None:
            scores[~among] = 0
        best = np.argpartition(-scores, min(self._most, len(scores)) - 1)[: self._most]
        return [(int(matrix.pieces[at]), float(scores[at])) for at in best if scores[at] > 0]

    def _load(self, rows: Sequence[int]) -> None:
        missing = [row for row in dict.fromkeys(rows) if row not in self._loaded]
        if not missing:
            return
        marks = ", ".join("?" * len(missing))
        for found in self._connection.execute(
            f"SELECT p.row, d.name, d.id, p.terms, {PIECE_COLUMNS} FROM pieces p"
            f" JOIN documents d ON d.row = p.document WHERE p.row IN ({marks})",
            missing,
        ):
            terms = found[3].split(" ")
            piece = piece_of(found[4:])
            self._loaded[found[0]] = _Loaded(found[1], found[2], piece, terms, frozenset(terms))

    def _weighed(self, found: list[_Found]) -> list[_Found]:
        """The first of them by BM25 over all terms of the question, then the others."""
        first = found[: max(_WEIGHED, 2 * self._search.limit)]
        self._load([one.row for one in first])
        sizes = {one.row: len(self._loaded[one.row].terms) for one in first}
        average = max(1.0, sum(sizes.values()) / max(1, len(sizes)))
        weighed = []
        for one in first:
            length = 1 - _B + _B * sizes[one.row] / average
            score = 0.0
            for term in self._terms:
                times = self._loaded[one.row].terms.count(term)
                score += self._rarity[term] * times * (_K1 + 1) / (times + _K1 * length)
            weighed.append(one._replace(score=score))
        return _best(weighed, len(weighed)) + found[len(first) :]

    def _told(self, fused: list[_Found]) -> Iterator[_Found]:
        """The best, without those that say what a better one says."""
        limit = self._search.limit
        told: list[frozenset[str]] = []
        for at in range(0, len(fused), max(1, limit)):
            part = fused[at : at + limit]
            self._load([one.row for one in part])
            for one in part:
                if len(told) == limit:
                    return
                vocabulary = self._loaded[one.row].vocabulary
                if not any(_are_alike(vocabulary, other) for other in told):
                    told.append(vocabulary)
                    yield one

    def _cosines(self, told: list[_Found]) -> dict[int, float]:
        found: dict[int, float] = {}
        for collection, matrix in self._places if self._search.vector else ():
            rows = [one.row for one in told if one.collection.row == collection.row]
            found |= matrix.cosines(self._search.vector, rows) if rows else {}
        return found

    def _passage(self, found: _Found, cosine: float) -> Passage:
        loaded = self._loaded[found.row]
        return Passage(
            collection=found.collection.name,
            document=loaded.document,
            document_id=loaded.document_id,
            piece=loaded.piece,
            score=found.score,
            similarity=cosine,
            word_share=self._word_share(loaded.vocabulary),
        )

    def _word_share(self, vocabulary: frozenset[str]) -> float:
        whole = sum(self._rarity[term] for term in self._terms)
        if not whole:
            return -1.0
        return sum(self._rarity[term] for term in self._terms if term in vocabulary) / whole


def _best(found: list[_Found], most: int) -> list[_Found]:
    return sorted(found, key=lambda one: (-one.score, one.row))[:most]


def _fused(*orders: tuple[list[_Found], float]) -> list[_Found]:
    """By the sum of what each rank is worth; 1 is first in every order."""
    scores: dict[int, float] = {}
    known: dict[int, _Found] = {}
    best = sum(weight for _, weight in orders) / (_RANK + 1)
    for order, weight in orders:
        for rank, one in enumerate(order, 1):
            scores[one.row] = scores.get(one.row, 0.0) + weight / (_RANK + rank) / best
            known[one.row] = one
    return [
        known[row]._replace(score=score)
        for row, score in sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    ]


def _are_alike(one: frozenset[str], other: frozenset[str]) -> bool:
    shared = len(one & other)
    if shared < _ALIKE * (len(one) + len(other) - shared):
        return False
    # Invoices differ in nothing but their numbers.
    return all(term.isalpha() for term in one ^ other)


def _conditions(filters: Filters) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Conditions on documents with their values."""
    if filters.documents:
        marks = ", ".join("?" * len(filters.documents))
        yield f"(id IN ({marks}) OR name IN ({marks}))", filters.documents * 2
    if filters.media_types:
        yield f"media_type IN ({', '.join('?' * len(filters.media_types))})", filters.media_types
    if filters.languages:
        yield f"language IN ({', '.join('?' * len(filters.languages))})", filters.languages
    if filters.modified_after:
        yield "modified_at >= ?", (filters.modified_after,)
    if filters.modified_before:
        yield "modified_at <= ?", (filters.modified_before,)
