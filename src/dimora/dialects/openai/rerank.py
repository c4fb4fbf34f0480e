"""`/v1/rerank`, in the words of Jina and Cohere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dimora.core.errors import BadRequest
from dimora.core.types import Event
from dimora.dialects._body import Body, BodyReader, check_integer, keep_alive_from
from dimora.dialects._writing import find_event, last_done
from dimora.dialects.base import Asked, Incoming
from dimora.dialects.openai.files import Folded
from dimora.tasks.rerank import Rerank, Reranked


class RerankBody(Body, frozen=True, kw_only=True):
    model: str = ""
    query: str = ""
    documents: list[Any] = []
    top_n: int | None = None
    return_documents: bool = True
    keep_alive: Any = None


_RERANK = BodyReader(RerankBody)


def decode_rerank(incoming: Incoming) -> Asked:
    """Raises BadRequest."""
    body, warnings = _RERANK.read(incoming.body)
    if not body.model:
        raise BadRequest("model is required", param="model")
    if body.top_n is not None:
        check_integer(body.top_n, "top_n")
        if body.top_n < 1:
            raise BadRequest("top_n must be at least 1", param="top_n")
    texts = tuple(_text_of(each) for each in body.documents)
    request = Rerank(
        model=body.model,
        question=body.query,
        texts=texts,
        top=body.top_n or 0,
        keep_alive=keep_alive_from(body.keep_alive),
        warnings=warnings,
    )

    def ordered(events: Sequence[Event]) -> dict[str, Any]:
        found = find_event(events, Reranked)
        results = [
            {"index": at, "relevance_score": max(0.0, round(score, 6))}
            | ({"document": {"text": texts[at]}} if body.return_documents else {})
            for at, score in (found.order if found else ())
        ]
        tokens = last_done(events).usage.prompt_tokens
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "model": body.model, "results": results, "usage": usage}

    return Asked(request, Folded(ordered))


def _text_of(document: Any) -> str:
    text = document.get("text") if isinstance(document, dict) else document
    if not isinstance(text, str):
        raise BadRequest("documents are texts, or objects with a text", param="documents")
    return text
