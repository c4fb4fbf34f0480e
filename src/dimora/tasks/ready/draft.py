"""Write a mail, an article or a report from points."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from dimora.core.errors import BadRequest
from dimora.core.languages import Language, detect_language
from dimora.core.types import Event
from dimora.tasks.base import Right, Rooms
from dimora.tasks.ready._desk import Answer, Desk, quoted, require_text
from dimora.tasks.ready._faithful import Unsupported, find_unsupported
from dimora.tasks.ready.base import ReadyRequest, answered

RIGHT: Right = "use"

# Places left open, and the line of a mail that says what it is about.
_OPEN = re.compile(r"\[[^\[\]\n]{2,40}\]")
_SUBJECT = re.compile(r"^[^\w\n]*+(?:Subject|Oggetto|Asunto)\W+(.*)$", re.MULTILINE)
_ANSWER_TOKENS = {"mail": 350, "letter": 500, "article": 800, "report": 900}


class Draft(ReadyRequest, frozen=True, kw_only=True, tag="draft"):
    """Names and numbers of the points have to be in the draft, and no others: where that is not so
    the model tries once more, and what is still wrong is told under `missing` and `unsupported`.
    """

    points: Annotated[str, Meta(description="What it has to say, in any form.")]
    kind: Annotated[
        Literal["mail", "letter", "article", "report"], Meta(description="What is written.")
    ] = "mail"
    tone: Annotated[
        Literal["neutral", "formal", "friendly"], Meta(description="How it sounds.")
    ] = "neutral"
    reader: Annotated[str, Meta(description="To whom, such as: our landlord.")] = ""


class Drafted(msgspec.Struct, frozen=True, kw_only=True):
    """`missing` are names and numbers of the points that the draft has not; `unsupported` are
    those of the draft that the points have not. `to_fill` are places that are left open for you,
    such as [Your name]."""

    draft: str
    complete: bool
    missing: tuple[Unsupported, ...] = ()
    unsupported: tuple[Unsupported, ...] = ()
    to_fill: tuple[str, ...] = ()


RESULT = Drafted
WORDS: Mapping[Language, Mapping[str, str]] = {
    "it": {
        "system": "Scrivi in italiano, con tono {tone} e in breve. Usi solo ciò che dicono i punti,"
        " non ne tralasci nessuno e non aggiungi nulla. Rispondi solo con il testo.",
        "ask": "Scrivi {kind}{reader} da questi punti:",
        "reader": " per {reader}",
        "again": "Deve contenere: {missing}. Non deve contenere: {unsupported}.",
        "mail": "una mail",
        "letter": "una lettera",
        "article": "un articolo",
        "report": "una relazione",
        "neutral": "neutro",
        "formal": "formale",
        "friendly": "cordiale",
    },
    "es": {
        "system": "Escribes en español, con tono {tone} y con brevedad. Usas solo lo que dicen los"
        " puntos, no omites ninguno y no añades nada. Responde únicamente con el texto.",
        "ask": "Escribe {kind}{reader} a partir de estos puntos:",
        "reader": " para {reader}",
        "again": "Debe contener: {missing}. No debe contener: {unsupported}.",
        "mail": "un correo",
        "letter": "una carta",
        "article": "un artículo",
        "report": "un informe",
        "neutral": "neutro",
        "formal": "formal",
        "friendly": "cordial",
    },
    "en": {
        "system": "You write in English, in a {tone} tone and briefly. You use only what the points"
        " say, leave none out and add nothing. Answer with the text alone.",
        "ask": "Write {kind}{reader} from these points:",
        "reader": " to {reader}",
        "again": "It must contain: {missing}. It must not contain: {unsupported}.",
        "mail": "an email",
        "letter": "a letter",
        "article": "an article",
        "report": "a report",
        "neutral": "neutral",
        "formal": "formal",
        "friendly": "friendly",
    },
}
EXAMPLE: Mapping[str, Any] = {
    "points": "- heating in flat 12 broken since Monday\n- two children at home\n"
    "- please send somebody by Friday",
    "kind": "mail",
    "tone": "formal",
    "reader": "our landlord",
}


async def run(request: Draft, rooms: Rooms) -> AsyncIterator[Event]:
    """One Answered, then Done."""
    require_text(request.points, "points")
    if len(request.reader) > 200:
        raise BadRequest("the reader is described in at most 200 characters", param="reader")
    language = request.language or detect_language(request.points)
    words = WORDS[language]
    known = f"{request.points} {request.reader}"
    reader = words["reader"].format(reader=request.reader.strip()) if request.reader else ""
    task = words["ask"].format(kind=words[request.kind], reader=reader)
    system = words["system"].format(tone=words[request.tone])
    question = f"{task}\n\n{quoted(request.points)}"
    most = _ANSWER_TOKENS[request.kind]
    async with Desk(request, rooms) as desk:
        async for place in desk.wait():
            yield place
        best = judge(await desk.write(system, question, most_tokens=most), request.points, known)
        if best.missing or best.unsupported:
            again = words["again"].format(
                missing=", ".join(u.value for u in best.missing) or "-",
                unsupported=", ".join(u.value for u in best.unsupported) or "-",
            )
            told = await desk.write(system, f"{question}\n\n{again}", most_tokens=most)
            best = min(best, judge(told, request.points, known), key=_faults)
    yield answered(best, language)
    yield desk.done()


def judge(told: Answer, points: str, known: str) -> Drafted:
    """A draft and what is wrong with it."""
    text = told.text.strip()
    missing = find_unsupported(points, text)
    said = _OPEN.sub("", _SUBJECT.sub(_plain_subject, text))
    return Drafted(
        draft=text,
        complete=bool(text) and not missing and not told.cut,
        missing=missing,
        unsupported=find_unsupported(said, known),
        to_fill=tuple(dict.fromkeys(_OPEN.findall(text))),
    )


def _plain_subject(found: re.Match[str]) -> str:
    """A subject without capital letters where Every Word Has One: those are no names."""
    words = [word for word in re.findall(r"[^\W\d_]+", found[1]) if len(word) > 3]
    titled = sum(word[0].isupper() for word in words) > len(words) / 2
    return found[1].lower() if titled else found[1]


def _faults(draft: Drafted) -> int:
    empty = 1000 * (not draft.draft)
    return empty + len(draft.missing) + len(draft.unsupported) + (not draft.complete)
