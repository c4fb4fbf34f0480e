"""From a question to the passages that may answer it, within a budget, or to nothing.

Whether anything was found is decided here, before a model writes a word. Not a task itself.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

import msgspec

from dimora.core.errors import BadRequest, NotFound
from dimora.core.languages import Language, detect_language
from dimora.core.types import Queued
from dimora.prompts.quoting import quoted, without_calls
from dimora.tasks.base import Rooms
from dimora.tasks.embedding import Embedder
from dimora.tasks.evidence import Evidence, evidence_of
from dimora.tasks.knowing import (
    Collection,
    Filters,
    Passage,
    Piece,
    require_same_weights,
    weights_of,
)
from dimora.tasks.reranking import Scored, score_texts

DEFAULT_COLLECTION = "documents"
# Looked at to tell how near the nearest is, and ordered anew by a model; only the best are shown.
_LOOKED_AT = 20
SHOWN_AT_MOST = 8
# A question is for a person's words; what is longer is searched by its beginning.
_QUESTION_CHARACTERS = 2000
# For the marks and names around a passage.
_AROUND_TOKENS = 24


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is searched: `collections` empty means the default one. `rerank` is a model that orders
    the best anew, see tasks.reranking; empty for none."""

    question: str
    collections: tuple[str, ...] = ()
    filters: Filters = Filters()
    limit: int = SHOWN_AT_MOST
    rerank: str = ""

    @property
    def asked(self) -> str:
        """The question as far as it is searched."""
        return self.question[:_QUESTION_CHARACTERS]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The passages that were found, best first; none where the evidence is not enough.
    `nearest` are those that were found in any case, `candidates` all that were looked at."""

    passages: tuple[Passage, ...]
    nearest: tuple[Passage, ...]
    candidates: tuple[Passage, ...]
    evidence: Evidence
    language: Language


async def searched(rooms: Rooms, wish: Wish) -> list[Collection]:
    """The collections of a wish, which all have one embedder. Raises NotFound, BadRequest."""
    names = wish.collections or (DEFAULT_COLLECTION,)
    found = [await rooms.knowledge.collection(name) for name in dict.fromkeys(names)]
    if len({each.embedder for each in found}) > 1:
        raise BadRequest(
            "these collections were made with different embedding models",
            hint="search them one after the other",
            param="collections",
        )
    return found


async def retrieve(
    rooms: Rooms, wish: Wish, collections: Sequence[Collection], embedder: Embedder
) -> Found:
    """Raises NotFound, Conflict for vectors that were not made with this embedder's weights."""
    for each in collections:
        require_same_weights(each.name, each.weights, weights_of(embedder.model))
    question = wish.asked
    (vector,) = await embedder.vectors([question], "query")
    passages = await rooms.knowledge.find(
        [each.name for each in collections],
        question,
        vector,
        limit=max(_LOOKED_AT, wish.limit),
        filters=wish.filters,
    )
    evidence = evidence_of(question, passages)
    shown = tuple(passages[: wish.limit])
    return Found(
        passages=shown if evidence.is_enough else (),
        nearest=shown,
        candidates=tuple(passages),
        evidence=evidence,
        language=detect_language(question),
    )


async def reordered(
    rooms: Rooms, wish: Wish, found: Found, *, batch: bool = False
) -> AsyncGenerator[Queued | Found, None]:
    """Places in the queue, then the same with the best in the order of the wish's model. Whether it
    is enough has been decided, and a model that orders does not change it. Raises NotFound."""
    first = found.candidates
    if not first:
        yield found
        return
    texts = [passage.piece.words for passage in first]
    steps = score_texts(rooms, wish.rerank, wish.asked, texts, batch=batch)
    async with aclosing(steps):
        async for step in steps:
            if isinstance(step, Scored):
                order = sorted(range(len(first)), key=lambda at: (-step.scores[at], at))
                shown = tuple(first[at] for at in order[: wish.limit])
                passages = shown if found.passages else ()
                yield msgspec.structs.replace(found, passages=passages, nearest=shown)
            else:
                yield step


async def fitting(
    passages: Sequence[Passage], budget_tokens: int, count: Callable[[str], Awaitable[int]]
) -> list[Passage]:
    """The best passages that fit together, whole, in their order; the best one in any case, cut."""
    kept: list[Passage] = []
    left = budget_tokens
    for passage in passages:
        size = await count(passage.piece.words) + _AROUND_TOKENS
        if size <= left:
            kept.append(passage)
            left -= size
    if kept or not passages:
        return kept
    best = passages[0]
    text = best.piece.text
    while text and await count(text) + _AROUND_TOKENS > budget_tokens:
        text = text[: len(text) * 3 // 4]
    piece = msgspec.structs.replace(best.piece, text=text)
    return [msgspec.structs.replace(best, piece=piece)] if text else []


async def widened(
    rooms: Rooms,
    passages: Sequence[Passage],
    budget_tokens: int,
    count: Callable[[str], Awaitable[int]],
) -> list[Passage]:
    """The passages with what stands before and after each under the same heading, best first, as
    far as the budget goes; no piece is there twice."""
    told = {(each.document_id, each.piece.number) for each in passages}
    left = budget_tokens - sum([await count(p.piece.words) + _AROUND_TOKENS for p in passages])
    wide = []
    for passage in passages:
        kept = [passage.piece]
        for near in await rooms.knowledge.around(passage, 1, 1):
            place = (passage.document_id, near.number)
            if place in told or near.headings != passage.piece.headings:
                continue
            size = await count(near.text)
            if size <= left:
                left -= size
                told.add(place)
                kept.append(near)
        wide.append(msgspec.structs.replace(passage, piece=_joined(passage.piece, kept)))
    return wide


def _joined(piece: Piece, neighbours: Sequence[Piece]) -> Piece:
    """One piece of several that follow each other; its number is that of the one found."""
    parts = sorted(neighbours, key=lambda one: one.number)
    if len(parts) == 1:
        return piece
    return msgspec.structs.replace(
        piece,
        text="\n\n".join(part.text for part in parts),
        tokens=sum(part.tokens for part in parts),
        page=parts[0].page,
        last_page=max(part.last_page for part in parts),
    )


def as_quotations(passages: Sequence[Passage], *templates: str, has_tools: bool = False) -> str:
    """The passages as data for a model, numbered from 1. `has_tools`: what it says may be a call,
    and what it repeats of a passage must be none."""
    told = []
    for number, passage in enumerate(passages, 1):
        words = without_calls(passage.piece.words) if has_tools else passage.piece.words
        quotation = quoted(words, f"passage {number}", *templates)
        told.append(f"[{number}] {_plain(passage.where)}\n{quotation}")
    return "\n\n".join(told)


def _plain(where: str) -> str:
    """Names of files may hold anything, and stand outside the marks."""
    return "".join(c for c in where if c.isprintable() and c not in "<>[]|`")[:120]


async def collection_or_none(rooms: Rooms, name: str) -> Collection | None:
    try:
        return await rooms.knowledge.collection(name)
    except NotFound:
        return None
