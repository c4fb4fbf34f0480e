"""Say in fewer words what a text says, and point at what the text does not say."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from dimora.core.languages import Language, detect_language
from dimora.core.types import Event, Progress
from dimora.tasks.base import Right, Rooms
from dimora.tasks.ready._desk import Desk, quoted, require_text
from dimora.tasks.ready._faithful import Unsupported, find_unsupported
from dimora.tasks.ready._parts import split_text
from dimora.tasks.ready.base import ReadyRequest, answered

RIGHT: Right = "use"

_ANSWER_TOKENS = {"short": 160, "long": 700, "bullets": 400}
# A summary of summaries that does not get shorter would go on for ever.
_LEVELS_AT_MOST = 6
_POINTS_AT_MOST = 12


class Summarize(ReadyRequest, frozen=True, kw_only=True, tag="summarize"):
    """A text longer than the model's window is read in parts, and their summaries are summed up.

    Every name and number of the summary is looked for in the text. Where one is missing the model
    tries once more, and what is still missing is listed under `unsupported`.
    """

    text: Annotated[str, Meta(description="What to summarize.")]
    form: Annotated[
        Literal["short", "long", "bullets"],
        Meta(description="A few sentences, a page, or points."),
    ] = "short"
    audience: Annotated[str, Meta(description="For whom, such as: a child, the board.")] = ""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """`points` hold the summary as a list where that was the form, else nothing. `parts` is in how
    many pieces the text was read. `faithful` when nothing is `unsupported`."""

    summary: str
    points: tuple[str, ...] = ()
    faithful: bool
    unsupported: tuple[Unsupported, ...] = ()
    parts: int = 1


RESULT = Summary
WORDS: Mapping[Language, Mapping[str, str]] = {
    "it": {
        "system": "Riassumi testi in italiano. Usi solo ciò che sta nel testo: non aggiungi nomi,"
        " numeri o fatti. Rispondi soltanto con il riassunto.",
        "short": "Riassumi il testo in due o tre frasi.",
        "long": "Riassumi il testo in modo completo, in alcuni paragrafi.",
        "bullets": "Riassumi il testo in punti brevi, uno per riga, ciascuno con un trattino.",
        "audience": "Scrivi per questo lettore: {audience}.",
        "again": "Il riassunto non deve contenere: {missing}. Non stanno nel testo.",
    },
    "es": {
        "system": "Resumes textos en español. Usas solo lo que está en el texto: no añades nombres,"
        " números ni hechos. Responde únicamente con el resumen.",
        "short": "Resume el texto en dos o tres frases.",
        "long": "Resume el texto de forma completa, en algunos párrafos.",
        "bullets": "Resume el texto en puntos breves, uno por línea, cada uno con un guion.",
        "audience": "Escribe para este lector: {audience}.",
        "again": "El resumen no debe contener: {missing}. No están en el texto.",
    },
    "en": {
        "system": "You summarize texts in English. You use only what the text says: you add no"
        " names, numbers or facts. Answer with the summary alone.",
        "short": "Summarize the text in two or three sentences.",
        "long": "Summarize the text completely, in a few paragraphs.",
        "bullets": "Summarize the text in short points, one on each line, each with a dash.",
        "audience": "Write for this reader: {audience}.",
        "again": "The summary must not contain: {missing}. The text does not say them.",
    },
}
EXAMPLE: Mapping[str, Any] = {
    "text": "The town library of Camogli reopens on 3 May after eleven months of works. The roof"
    " was rebuilt, a lift now reaches the second floor, and 4,200 books that were kept in Genoa"
    " have come back. The works cost 310,000 euros, paid by the town and by Fondazione Riviera."
    " The library is open from Tuesday to Saturday; on Saturdays volunteers read to children.",
    "form": "short",
}


async def run(request: Summarize, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress for each part of a long text, one Answered, then Done."""
    require_text(request.text)
    language = request.language or detect_language(request.text)
    words = WORDS[language]
    task = words[request.form]
    if request.audience.strip():
        task += " " + words["audience"].format(audience=request.audience.strip())
    most = _ANSWER_TOKENS[request.form]
    async with Desk(request, rooms) as desk:
        async for place in desk.wait():
            yield place
        room = await desk.room_for_text(words["system"], task, most)
        parts = await split_text(request.text, room, desk.count)
        read = len(parts)
        text, level = request.text, 0
        while len(parts) > 1 and level < _LEVELS_AT_MOST:
            level += 1
            told = []
            for at, part in enumerate(parts, 1):
                yield Progress(status=f"reading part {at} of {len(parts)}")
                told.append(await _summarize(desk, words, words["short"], part, request.text))
            text = "\n\n".join(told)
            parts = await split_text(text, room, desk.count)
        if len(parts) > 1:
            desk.warnings.append("the text is too long to be summed up whole: the end is missing")
        yield Progress(status="summing up")
        summary = await _summarize(desk, words, task, parts[0], request.text, most_tokens=most)
        unsupported = find_unsupported(summary, request.text)
        result = Summary(
            summary=summary,
            points=points_of(summary) if request.form == "bullets" else (),
            faithful=not unsupported,
            unsupported=unsupported,
            parts=read,
        )
    yield answered(result, language)
    yield desk.done()


async def _summarize(
    desk: Desk,
    words: Mapping[str, str],
    task: str,
    text: str,
    source: str,
    *,
    most_tokens: int = _ANSWER_TOKENS["short"],
) -> str:
    """One summary; of two where the first one invents, the one that invents less."""
    question = f"{quoted(text)}\n\n{task}"
    first = await desk.write(words["system"], question, most_tokens=most_tokens)
    invented = find_unsupported(first.text, source)
    if not invented:
        return first.ended()
    missing = ", ".join(u.value for u in invented)
    question = f"{question} {words['again'].format(missing=missing)}"
    second = await desk.write(words["system"], question, most_tokens=most_tokens)
    better = bool(second.text.strip()) and len(find_unsupported(second.text, source)) < len(
        invented
    )
    return (second if better else first).ended()


def points_of(text: str) -> tuple[str, ...]:
    """The points of a list, without their marks; a text without any is one point for each line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    marked = [m[1] for line in lines if (m := re.match(r"(?:[-*•–]|\d+[.)])\s+(.+)", line))]
    return tuple(marked or lines)[:_POINTS_AT_MOST]
