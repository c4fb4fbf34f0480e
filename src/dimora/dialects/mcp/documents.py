"""The tools over MCP that know the workspace's documents: `search`.

A tool that answers from documents belongs here too, once there is a task for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from dimora.core.errors import BadRequest
from dimora.core.types import Event, Request
from dimora.dialects._body import Body, BodyReader
from dimora.dialects._writing import find_event
from dimora.dialects.mcp.offer import Offer, rooted, structured
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


def _tell(events: Sequence[Event]) -> dict[str, Any]:
    found = find_event(events, PassagesFound) or PassagesFound(passages=(), is_enough=False)
    passages = [
        PassageTold(
            where=one.where,
            document=one.document,
            collection=one.collection,
            page=one.piece.page,
            text=one.piece.text,
        )
        for one in found.passages
    ]
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

OFFERS = (SEARCH,)
