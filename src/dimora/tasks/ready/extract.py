"""Pull fields out of a text, each with the place where it stands."""

from __future__ import annotations

import json
import math
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from dimora.core.errors import BadRequest
from dimora.core.languages import Language, detect_language
from dimora.core.types import Event, Progress
from dimora.tasks.base import Right, Rooms
from dimora.tasks.ready._desk import Answer, Desk, quoted, require_text
from dimora.tasks.ready._parts import split_text
from dimora.tasks.ready._values import (
    Kind,
    find_equal,
    find_span,
    is_ambiguous,
    least_logprob,
    read_kind,
    read_value,
)
from dimora.tasks.ready.base import ReadyRequest, answered

RIGHT: Right = "use"

_FIELDS_AT_MOST = 40
_FIELD_TOKENS = 60


class Extract(ReadyRequest, frozen=True, kw_only=True, tag="extract"):
    """A field is `name`, `name:kind` or `name:kind:what it is`; a kind is text, number, date or
    yes/no. The model copies words of the text; they are looked for there (numbers and dates in any
    spelling), and then read as their kind. What does not stand in the text is no value, unless
    `loose`. A text longer than the window is read in parts, and the surest value of a field is
    taken.
    """

    text: Annotated[str, Meta(description="Where to look.")]
    fields: Annotated[
        tuple[str, ...], Meta(description="What to find: name, name:kind or name:kind:words.")
    ]
    loose: Annotated[bool, Meta(description="Keep also values that do not stand in the text.")] = (
        False
    )


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """`value` is what was found, as text, number, `2026-05-03` or true and false; null where there
    is nothing. `words` is how it stands in the text from character `start` to `end`; -1 for
    nowhere. `confidence` is the model's probability for the token it was least sure of.
    `problem` says why words are no value: `not in the text`, `no number`, `no date`, `number too
    large`, ...; or that a number may be another: `thousands or fraction`.
    """

    name: str
    value: str | int | float | bool | None
    words: str = ""
    start: int = -1
    end: int = -1
    confidence: float = 0.0
    problem: str = ""


class Extracted(msgspec.Struct, frozen=True, kw_only=True):
    """The fields in the order they were asked for; `complete` when each has a value."""

    fields: tuple[Value, ...]
    complete: bool


RESULT = Extracted
WORDS: Mapping[Language, Mapping[str, str]] = {
    "it": {
        "system": "Estrai dati da un testo. Copi ogni valore esattamente come sta scritto nel"
        " testo. Se un dato non c'è, scrivi null. Rispondi in JSON.",
        "ask": "Copia dal testo questi dati:\n{fields}",
    },
    "es": {
        "system": "Extraes datos de un texto. Copias cada valor exactamente como está escrito en"
        " el texto. Si un dato no está, escribe null. Responde en JSON.",
        "ask": "Copia del texto estos datos:\n{fields}",
    },
    "en": {
        "system": "You extract data from a text. You copy each value exactly as it is written in"
        " the text. Where a datum is not there, write null. Answer in JSON.",
        "ask": "Copy these data from the text:\n{fields}",
    },
}
EXAMPLE: Mapping[str, Any] = {
    "text": "Invoice 2026/118\nOfficina Bianchi, Via Roma 4, Torino\nDate: 3 May 2026\n"
    "Total due: EUR 1,240.50, payable within 30 days.",
    "fields": ["number:text:number of the invoice", "supplier", "date:date", "total:number"],
}


class _Wanted(NamedTuple):
    name: str
    kind: Kind
    meaning: str


def read_fields(fields: Sequence[str]) -> tuple[_Wanted, ...]:
    """Raises BadRequest for none, too many, one twice, or a kind there is not."""
    if not 0 < len(fields) <= _FIELDS_AT_MOST:
        raise BadRequest(f"1 to {_FIELDS_AT_MOST} fields can be asked for", param="fields")
    wanted = []
    for field in fields:
        name, _, rest = field.partition(":")
        kind, _, meaning = rest.partition(":")
        wanted.append(_Wanted(name.strip(), read_kind(kind.strip() or "text"), meaning.strip()))
    names = [field.name for field in wanted]
    if not all(names) or len(set(names)) < len(names):
        raise BadRequest("each field needs a name of its own", param="fields")
    return tuple(wanted)


# Words of a table that are not a field's.
_TAKEN = ("input", "error", "hash", "complete", "doubtful")
# What is less sure than this should be looked at by somebody.
_DOUBTFUL = 0.5


def table_columns(asked: Mapping[str, Any]) -> tuple[str, ...]:
    """In a table each field has a column of its own."""
    wanted = read_fields(tuple(asked.get("fields", ())))
    return (*(_column(field.name) for field in wanted), "complete", "doubtful")


def table_row(result: Mapping[str, Any]) -> dict[str, Any]:
    """The values by column; `doubtful` says which should be looked at, and why."""
    fields = result["fields"]
    doubtful = [
        f"{each['name']}: {each['problem'] or 'confidence {:.2f}'.format(each['confidence'])}"
        for each in fields
        if each["problem"] or (each["value"] is not None and each["confidence"] < _DOUBTFUL)
    ]
    values = {_column(each["name"]): each["value"] for each in fields}
    return {**values, "complete": result["complete"], "doubtful": "; ".join(doubtful)}


def _column(name: str) -> str:
    return f"{name}_" if name in _TAKEN else name


async def run(request: Extract, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress for each part of a long text, one Answered, then Done."""
    require_text(request.text)
    wanted = read_fields(request.fields)
    language = request.language or detect_language(request.text)
    words = WORDS[language]
    spelling = _spelling(request)
    lines = [f"- {f.name}{f': {f.meaning}' if f.meaning else ''}" for f in wanted]
    task = words["ask"].format(fields="\n".join(lines))
    most = _FIELD_TOKENS * len(wanted) + 32
    best: dict[str, Value] = {}
    async with Desk(request, rooms) as desk:
        async for place in desk.wait():
            yield place
        room = await desk.room_for_text(words["system"], task, most)
        parts = await split_text(request.text, room, desk.count)
        offset = 0
        for at, part in enumerate(parts, 1):
            if len(parts) > 1:
                yield Progress(status=f"reading part {at} of {len(parts)}")
            answer = await desk.ask(
                words["system"],
                f"{quoted(part)}\n\n{task}",
                schema_of(wanted),
                most_tokens=most,
                logprobs=True,
            )
            offset = max(request.text.find(part, offset), 0)
            for field in wanted:
                value = told(field, answer, part, offset, loose=request.loose, language=spelling)
                if field.name not in best or _better(value, best[field.name]):
                    best[field.name] = value
        values = tuple(best[field.name] for field in wanted)
        result = Extracted(fields=values, complete=all(v.value is not None for v in values))
    yield answered(result, language)
    yield desk.done()


def schema_of(wanted: Sequence[_Wanted]) -> dict[str, Any]:
    """What the model answers: words of the text for each field, or null."""
    value = {"type": ["string", "null"]}
    return {
        "type": "object",
        "properties": {field.name: value for field in wanted},
        "required": [field.name for field in wanted],
        "additionalProperties": False,
    }


def _spelling(request: Extract) -> Language | None:
    """The language whose numbers the text has; None where nothing tells."""
    found = detect_language(request.text, "en")
    return found if found == detect_language(request.text, "it") else request.language or None


def told(
    field: _Wanted,
    answer: Answer,
    text: str,
    offset: int,
    *,
    loose: bool,
    language: Language | None = None,
) -> Value:
    """The value the model gave to a field, looked for in the text, which begins at `offset`."""
    words = (answer.value[field.name] or "").strip()
    sure = round(_confidence(field.name, answer), 4)
    if not words or words.lower() in ("null", "none", "n/a"):
        return Value(name=field.name, value=None, confidence=sure)
    span = find_span(words, text, field.kind) or find_equal(field.kind, words, text, language)
    if span is None and not loose:
        return Value(
            name=field.name, value=None, words=words, confidence=sure, problem="not in the text"
        )
    start, end = (span[0] + offset, span[1] + offset) if span else (-1, -1)
    found = text[span[0] : span[1]] if span else words
    try:
        value, problem = read_value(field.kind, found, language), ""
        if field.kind == "number" and language is None and is_ambiguous(found):
            problem = "thousands or fraction"
    except ValueError:
        value, problem = None, f"no {field.kind}"
    except OverflowError:
        value, problem = None, "number too large"
    return Value(
        name=field.name,
        value=value,
        words=found,
        start=start,
        end=end,
        confidence=sure,
        problem=problem or ("" if span else "not in the text"),
    )


def _confidence(name: str, answer: Answer) -> float:
    """The probability of the least likely token of the field's value in the answer."""
    if not answer.tokens:
        return 0.0
    text = "".join(token.text for token in answer.tokens)
    key = re.search(re.escape(json.dumps(name, ensure_ascii=False)) + r"\s*:\s*", text)
    value = re.compile(r'null|"(?:[^"\\]|\\.)*"').match(text, key.end()) if key else None
    if value is None:
        return 0.0
    return math.exp(min(least_logprob(answer.tokens, *value.span()), 0.0))


def _better(new: Value, old: Value) -> bool:
    if (new.value is None) != (old.value is None):
        return old.value is None
    return new.confidence > old.confidence
