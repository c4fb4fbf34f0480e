"""What is told of documents and what was found in them: plain values."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from dimora.core.errors import Conflict
from dimora.core.types import Event

if TYPE_CHECKING:
    from dimora.tasks.base import Model


class Collection(msgspec.Struct, frozen=True, kw_only=True):
    """A set of documents with one embedding model. Times are seconds since 1970.

    `folders` are read anew by `add` without names; only those named at the terminal are kept.
    `about` is a few words of its owner. `hidden` ones belong to a model. `weights` is the digest of
    the embedder's file that its vectors were made with, empty where that is not known.
    """

    name: str
    embedder: str
    weights: str = ""
    dimensions: int = 0
    documents: int = 0
    failed: int = 0
    chunks: int = 0
    size_bytes: int = 0
    created_at: float = 0.0
    changed_at: float = 0.0
    folders: tuple[str, ...] = ()
    about: str = ""
    hidden: bool = False


class KnownDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A document of a collection. `name` is its path from the folder that was added on, that
    folder's name first (`contracts/2024/lease.pdf`), or its own.

    `error` says why nothing is known of it. `invisible` characters were taken out of it.
    """

    id: str
    name: str
    digest: str
    media_type: str = ""
    size_bytes: int = 0
    modified_at: float = 0.0
    added_at: float = 0.0
    pages: int = 0
    chunks: int = 0
    tokens: int = 0
    language: str = ""
    invisible: int = 0
    error: str = ""
    warnings: tuple[str, ...] = ()


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a document that is found as one. `headings` lead to it, outermost first.

    `page` counts from 1, 0 for none; `place` is the name of a sheet and the like. `number` counts
    the pieces of a document from 0.
    """

    number: int
    text: str
    tokens: int = 0
    headings: tuple[str, ...] = ()
    page: int = 0
    last_page: int = 0
    place: str = ""

    @property
    def words(self) -> str:
        """What is embedded and searched: the text under its last two headings. With all of them
        answers were found no better, and refused more often (bench/BENCHMARKS.md)."""
        return "\n".join((*self.headings[-2:], self.text))


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """What a search is narrowed to; empty fields narrow nothing. Times are of the file."""

    documents: tuple[str, ...] = ()
    media_types: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    modified_after: float = 0.0
    modified_before: float = 0.0


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A piece that was found. `score` is the fused one, 1 for what every way of searching has
    first. `similarity` is the cosine to the question, `word_share` the share of the question's
    words that stand in it, rare ones weighing more; -1 where that was not looked for."""

    collection: str
    document: str
    document_id: str
    piece: Piece
    score: float = 0.0
    similarity: float = -1.0
    word_share: float = -1.0

    @property
    def where(self) -> str:
        """Where it stands, in words: the document, and its page or heading."""
        piece = self.piece
        if piece.page:
            last = f"-{piece.last_page}" if piece.last_page > piece.page else ""
            return f"{self.document}, p. {piece.page}{last}"
        place = piece.place or (piece.headings[-1] if piece.headings else "")
        return f"{self.document}, {place}" if place else self.document


class Citation(Event, frozen=True, kw_only=True, tag="citation"):
    """A passage an answer stands on. `number` is how the answer names it: [1]."""

    number: int
    passage: Passage


class Ingested(Event, frozen=True, kw_only=True, tag="ingested"):
    """What became of one document: it was `added`, `replaced`, `unchanged`, `removed`, `failed`."""

    document: KnownDocument
    became: Literal["added", "replaced", "unchanged", "removed", "failed"]


class Offered(msgspec.Struct, frozen=True, kw_only=True):
    """A file that may be taken in: either `path` on this machine, or its bytes.

    `folder` is the path of the folder it was found in, of those that were named. `digest` is the
    sha256 in hexadecimal digits where it is known beforehand. Name and folder are always text; the
    path is for this machine alone, whose names need not be UTF-8.

    `error` says why nobody can look at what is there: a file, or a folder with all below it.
    """

    name: str
    path: str = ""
    folder: str = ""
    data: bytes = b""
    digest: str = ""
    size_bytes: int = 0
    modified_at: float = 0.0
    error: str = ""

    @property
    def warning(self) -> str:
        """For people; empty where there is no error."""
        told = f"{self.name!r} cannot be read, and what is known of it is kept: {self.error}"
        return told if self.error else ""


def weights_of(model: Model) -> str:
    """The digest that vectors are kept with; empty for files outside the store, which have one by
    their place and time only."""
    return "" if model.weights_digest.startswith("file:") else model.weights_digest


def other_weights(kept: str, weights: str) -> bool:
    """Whether both are known and differ: vectors of two models are as near to each other as chance
    has it, whatever name both had."""
    return bool(kept and weights) and kept != weights


def require_same_weights(collection: str, kept: str, weights: str) -> None:
    """Raises Conflict for other ones."""
    if other_weights(kept, weights):
        raise Conflict(
            f"the vectors of the collection {collection!r} were made with another version of its"
            " embedding model",
            hint="bring that one back, or remove the collection (`dimora knowledge remove --all`)"
            " and add its documents again",
            code="other_weights",
        )


Count = Callable[[str], Awaitable[int]]
"""Tokens of a text, by the embedder's own tokenizer."""


def gone_from(
    folders: Iterable[str], offers: Iterable[Offered], known: Iterable[KnownDocument]
) -> list[KnownDocument]:
    """What was known of these folders and is not offered any more; not what nobody can look at."""
    offers = list(offers)
    tops = tuple(f"{PurePath(folder).name}/" for folder in folders)
    unseen = tuple(f"{each.name}/" for each in offers if each.error)
    there = {each.name for each in offers}
    return [
        each
        for each in known
        if each.name.startswith(tops)
        and not each.name.startswith(unseen)
        and each.name not in there
    ]


class Knowledge(Protocol):
    """The keeper of documents, as tasks use it: of one workspace, the principal's.

    Raises NotFound for a collection or document that is not there, StorageFull.
    """

    async def collections(self) -> list[Collection]: ...

    async def collection(self, name: str) -> Collection: ...

    async def make_collection(
        self, name: str, embedder: str, *, hidden: bool = False
    ) -> Collection:
        """The one of this name if it is there. Raises BadRequest for a name that is none, Conflict
        where it has another embedder."""

    async def change_collection(
        self, name: str, *, folders: Sequence[str] | None = None, about: str | None = None
    ) -> Collection:
        """None leaves as it is. Raises Forbidden for folders to all but the terminal, Conflict for
        two folders with the same last name."""

    async def drop_collection(self, name: str) -> None:
        """Leaves no row, vector or word of it."""

    async def forget_models(self) -> None:
        """Drop the documents that belong to no model any more, in every workspace: they go with
        their model. Raises the first error, once every workspace was tried."""

    async def documents(self, collection: str) -> list[KnownDocument]:
        """By name."""

    async def document(self, collection: str, document: str) -> KnownDocument:
        """By id or name."""

    async def offers(self, paths: Sequence[str]) -> list[Offered]:
        """The files of paths and folders, by name; hidden ones only where they are named.

        Raises Forbidden to all but the terminal, NotFound for a path where nothing is.
        """

    def documents_of(self, model: Model) -> AsyncGenerator[Offered, None]:
        """The documents that belong to a model, one at a time with their bytes."""

    async def is_known(self, collection: str, offered: Offered) -> KnownDocument | None:
        """The document of this name if it is unchanged and was cut as it would be now; one that
        could not be read is not known."""

    def pieces(
        self, offered: Offered, count: Count, budget_tokens: int
    ) -> AsyncGenerator[KnownDocument | Piece, None]:
        """Read a file in a process of its own and cut it: what is known of it, then its pieces.

        Raises BadRequest for a file that cannot be read; to keep that it could not, `put` a
        document with its `error` and no pieces.
        """

    async def put(
        self,
        collection: str,
        document: KnownDocument,
        pieces: Sequence[Piece],
        vectors: Sequence[Sequence[float]],
        weights: str = "",
    ) -> KnownDocument:
        """Takes the place of the document of the same name, at once and whole, and keeps its id.
        Chunks, tokens and `added_at` are filled in. Vectors need not be of length one, and are of
        one width in a collection. Raises Conflict (`document_exists`) for a document that brings
        another id than that of its name, and (`other_weights`) where the collection has vectors
        made with other weights."""

    async def copy(self, collection: str, document: str, target: str, name: str) -> KnownDocument:
        """The document, its pieces and vectors into another collection with the same embedder, by
        another name and the same id. Raises Conflict, as `put` does for a name that is taken."""

    async def remove(self, collection: str, document: str) -> KnownDocument:
        """By id or name; leaves no row, vector or word of it."""

    async def find(
        self,
        collections: Sequence[str],
        question: str,
        vector: Sequence[float],
        *,
        limit: int,
        filters: Filters,
    ) -> list[Passage]:
        """By meaning and by word, fused by rank, best first, no two alike.

        Without a vector by word alone, without a question by meaning alone. Raises BadRequest for a
        vector of another width than the collection's.
        """

    async def around(self, passage: Passage, before: int, after: int) -> list[Piece]:
        """Neighbours of a passage in its document, in order, without itself."""

    def export(self, collection: str) -> AsyncGenerator[KnownDocument | Piece, None]:
        """Every document by name, each before its pieces in order."""
