"""The tools over MCP that know the workspace's documents: `search` and `ask`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from dimora.core.errors import BadRequest
from dimora.core.types import Event, Request
from dimora.dialects._body import Body, BodyReader
from dimora.dialects._writing import find_event
from dimora.dialects.mcp.offer import Offer, rooted, structured
from dimora.tasks.ask_documents import AskDocuments
from dimora.tasks.generation import Fold
from dimora.tasks.knowing import Passage
from dimora.tasks.search_documents import PassagesFound, SearchDocuments


class SearchBody(Body, frozen=True, kw_only=True):
    question: str = ""
    collections: list[str] = []
    limit: int = 8


class PassageTold(msgspec.Struct, frozen=True, kw_only=True):
    """`where` it stands: the document, with its page or heading."""

    where: str
    document: str
    collection: str
    page: int
    text: str


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Best first. Unless `enough`, they are only the nearest, and say nothing to the question."""

    passages: list[PassageTold]
    enough: bool


_READER = BodyReader(SearchBody)


def _read(arguments: Mapping[str, Any], warnings: tuple[str, ...]) -> Request:
    body, unknown = _READER.read_value(dict(arguments))
    if not body.question:
        raise BadRequest("question is required", param="question")
    return SearchDocuments(
        question=body.question,
        collections=tuple(body.collections),
        limit=body.limit,
        warnings=(*warnings, *unknown),
    )


def _told(passage: Passage) -> PassageTold:
    return PassageTold(
        where=passage.where,
        document=passage.document,
        collection=passage.collection,
        page=passage.piece.page,
        text=passage.piece.text,
    )


def _tell(events: Sequence[Event]) -> dict[str, Any]:
    found = find_event(events, PassagesFound) or PassagesFound(passages=(), is_enough=False)
    passages = [_told(one) for one in found.passages]
    return structured(msgspec.to_builtins(Found(passages=passages, enough=found.is_enough)))


SEARCH = Offer(
    name="search",
    description="Find passages in the documents that are known here, by meaning and by word.",
    input_schema={
        "type": "object",
        "properties": {
            "question": {"type": "string", "description": "What to look for, in any words."},
            "collections": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Which collections to look in; the usual one where left out.",
            },
            "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 8},
        },
        "required": ["question"],
    },
    output_schema=rooted(msgspec.json.schema(Found)),
    read=_read,
    tell=_tell,
)


class AskBody(SearchBody, frozen=True, kw_only=True):
    model: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """`sources` are what the answer stands on, as [1] in it names them; `found` is false where
    nothing was, and the answer says so."""

    answer: str
    found: bool
    sources: list[PassageTold]


_ASK_READER = BodyReader(AskBody)


def _read_ask(arguments: Mapping[str, Any], warnings: tuple[str, ...]) -> Request:
    body, unknown = _ASK_READER.read_value(dict(arguments))
    if not body.question:
        raise BadRequest("question is required", param="question")
    if not body.model:
        raise BadRequest("model is required", param="model")
    return AskDocuments(
        model=body.model,
        question=body.question,
        collections=tuple(body.collections),
        limit=body.limit,
        warnings=(*warnings, *unknown),
    )


def _tell_ask(events: Sequence[Event]) -> dict[str, Any]:
    fold = Fold.of(list(events))
    told = Answer(
        answer=fold.text,
        found=fold.done.reason != "nothing_found",
        sources=[_told(each.passage) for each in fold.citations],
    )
    return structured(msgspec.to_builtins(told))


ASK = Offer(
    name="ask",
    description="Answer a question from the documents that are known here, with the passages the"
    " answer stands on.",
    input_schema={
        "type": "object",
        "properties": {
            "question": {"type": "string", "description": "What is asked."},
            "model": {
                "type": "string",
                "description": "Name of the model that answers; the house's own choice where left"
                " out.",
            },
            "collections": SEARCH.input_schema["properties"]["collections"],
            "limit": {"type": "integer", "minimum": 1, "maximum": 50, "default": 8},
        },
        "required": ["question"],
    },
    output_schema=rooted(msgspec.json.schema(Answer)),
    read=_read_ask,
    tell=_tell_ask,
)

OFFERS = (SEARCH, ASK)
