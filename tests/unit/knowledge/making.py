"""Documents and vectors made by hand, for tests of what is kept and found."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from dimora.documents.base import Block, Document
from dimora.knowledge.finding import Search
from dimora.knowledge.keeping import Keeper
from dimora.tasks.knowing import Filters, KnownDocument, Passage, Piece

WIDTH = 8


async def count_words(text: str) -> int:
    """A token is a word, or four letters of one."""
    return sum(-(-len(word) // 4) for word in re.findall(r"\S+", text))


def vector_of(text: str) -> tuple[float, ...]:
    """One that means nothing, the same for the same text."""
    digest = hashlib.sha256(text.encode()).digest()
    return tuple(byte / 127.5 - 1 for byte in digest[:WIDTH])


def axis(number: int, *, lean: float = 0.0) -> tuple[float, ...]:
    """Along one of the axes, leaning to the next."""
    made = [0.0] * WIDTH
    made[number] = 1.0
    made[(number + 1) % WIDTH] = lean
    return tuple(made)


def known(name: str, **more: object) -> KnownDocument:
    fields: dict[str, object] = {"id": "", "digest": hashlib.sha256(name.encode()).hexdigest()}
    return KnownDocument(name=name, **(fields | more))  # type: ignore[arg-type]


def pieces_of(*texts: str) -> list[Piece]:
    return [Piece(number=at, text=text, tokens=len(text.split())) for at, text in enumerate(texts)]


def put(
    keeper: Keeper,
    collection: str,
    name: str,
    *texts: str,
    vectors: Sequence[Sequence[float]] | None = None,
    **more: object,
) -> KnownDocument:
    made = vectors if vectors is not None else [vector_of(text) for text in texts]
    return keeper.put(collection, known(name, **more), pieces_of(*texts), made)


def search(
    keeper: Keeper,
    question: str = "",
    vector: Sequence[float] = (),
    *,
    collections: Sequence[str] = ("notes",),
    limit: int = 5,
    filters: Filters | None = None,
) -> list[Passage]:
    return keeper.find(
        Search(
            collections=tuple(collections),
            question=question,
            vector=tuple(vector),
            limit=limit,
            filters=filters or Filters(),
        )
    )


def keeper_with_notes(path: Path) -> Keeper:
    keeper = Keeper(path / "knowledge" / "main.db")
    keeper.make_collection("notes", "embedder", hidden=False)
    return keeper


def document(*blocks: Block, name: str = "paper.txt", **more: object) -> Document:
    return Document(name=name, media_type="text/plain", blocks=blocks, **more)  # type: ignore[arg-type]


def paragraph(text: str, **more: object) -> Block:
    return Block(kind="paragraph", text=text, **more)  # type: ignore[arg-type]


def heading(text: str, level: int = 1, **more: object) -> Block:
    return Block(kind="heading", text=text, level=level, **more)  # type: ignore[arg-type]
