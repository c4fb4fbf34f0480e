"""What the JSON answers have in common: the clock, encoding, and the words of frequent errors.

Not a dialect itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from dimora.core.errors import DimoraError, NotFound
from dimora.core.types import Done, Event, Usage
from dimora.tasks.embed import EmbedDone
from dimora.tasks.knowing import Citation

# A model's name in a message is cut here; no valid name is longer.
_NAME_CHARACTERS = 600


def read_clock() -> int:
    """Nanoseconds since 1970. The one place where dialects ask for the time."""
    return time.time_ns()


def encode(value: Any) -> bytes:
    return msgspec.json.encode(value)


def clip_name(name: str) -> str:
    return name[:_NAME_CHARACTERS]


def reword_missing(error: DimoraError, text: str) -> DimoraError:
    """The error itself, or when the model was not found the same with the route's own text."""
    if not isinstance(error, NotFound):
        return error
    return NotFound(text, hint=error.hint, code="model_not_found", param="model")


def last_done(events: Sequence[Event]) -> Done:
    """The Done of an answer, a bare one if there is none."""
    return next((e for e in reversed(events) if isinstance(e, Done)), Done())


def find_event(events: Sequence[Event], kind: type[Any]) -> Any:
    """The first event of a kind, or None."""
    return next((e for e in events if isinstance(e, kind)), None)


def truncation_fields(usage: Usage) -> dict[str, Any]:
    """What every answer says about a prompt that was cut; nothing when it was not."""
    if not usage.truncated:
        return {}
    return {"truncated": True, "prompt_tokens_original": usage.prompt_tokens_original}


def cut_fields(done: Done) -> dict[str, Any]:
    """`truncation_fields` of an embedding, with the positions of the texts that were cut."""
    fields = truncation_fields(done.usage)
    if isinstance(done, EmbedDone) and done.truncated_texts:
        fields |= {"truncated": True, "truncated_inputs": list(done.truncated_texts)}
    return fields


def citation_fields(citations: Sequence[Citation]) -> dict[str, Any]:
    """The passages an answer stands on; nothing when there are none."""
    told = [
        {
            "number": each.number,
            "document": each.passage.document,
            "document_id": each.passage.document_id,
            "where": each.passage.where,
            "page": each.passage.piece.page or None,
            "headings": list(each.passage.piece.headings),
            "text": each.passage.piece.text,
        }
        for each in citations
    ]
    return {"citations": told} if told else {}


def warning_fields(done: Done) -> dict[str, Any]:
    return {"warnings": list(done.warnings)} if done.warnings else {}
