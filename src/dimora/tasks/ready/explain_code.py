"""Explain what code does, without names that it does not have."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from dimora.core.languages import Language
from dimora.core.types import Event, Progress
from dimora.tasks.base import Right, Rooms
from dimora.tasks.ready._code import fenced, find_foreign_names, language_of, names_defined
from dimora.tasks.ready._desk import Desk, require_text
from dimora.tasks.ready._parts import split_text
from dimora.tasks.ready.base import ReadyRequest, answered

RIGHT: Right = "use"

_ANSWER_TOKENS = {"short": 150, "long": 500}


class ExplainCode(ReadyRequest, frozen=True, kw_only=True, tag="explain_code"):
    """Code longer than the window is explained part by part. Names in the explanation that the code
    does not have are listed. The language is that of the question, else of the comments.
    """

    code: Annotated[str, Meta(description="What to explain.")]
    question: Annotated[str, Meta(description="What exactly you want to know.")] = ""
    detail: Annotated[
        Literal["short", "long"], Meta(description="A few sentences, or step by step.")
    ] = "short"


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """`defines` are functions and types of the code; `foreign` are names of the explanation that
    the code does not have."""

    explanation: str
    defines: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    parts: int = 1


RESULT = Explained
WORDS: Mapping[Language, Mapping[str, str]] = {
    "it": {
        "system": "Spieghi codice in italiano a chi programma. Dici solo ciò che il codice fa"
        " davvero, con i nomi che usa.",
        "short": "Spiega in poche frasi che cosa fa questo codice.",
        "long": "Spiega passo per passo che cosa fa questo codice.",
        "question": "Domanda sul codice: {question}",
    },
    "es": {
        "system": "Explicas código en español a quien programa. Dices solo lo que el código hace de"
        " verdad, con los nombres que usa.",
        "short": "Explica en pocas frases qué hace este código.",
        "long": "Explica paso a paso qué hace este código.",
        "question": "Pregunta sobre el código: {question}",
    },
    "en": {
        "system": "You explain code in English to people who write programs. You say only what the"
        " code really does, with the names it uses.",
        "short": "Explain in a few sentences what this code does.",
        "long": "Explain step by step what this code does.",
        "question": "A question about the code: {question}",
    },
}
EXAMPLE: Mapping[str, Any] = {
    "code": "def shipping(weight_kg, express=False):\n    price = 5.0 + 1.2 * weight_kg\n"
    "    return round(price * (2 if express else 1), 2)\n"
}


async def run(request: ExplainCode, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress for each part of long code, one Answered, then Done."""
    require_text(request.code, "code")
    language = request.language or language_of(request.code, request.question)
    words = WORDS[language]
    task = words[request.detail]
    if request.question.strip():
        task = words["question"].format(question=request.question.strip())
    most = _ANSWER_TOKENS[request.detail]
    async with Desk(request, rooms) as desk:
        async for place in desk.wait():
            yield place
        room = await desk.room_for_text(words["system"], task, most)
        parts = await split_text(request.code, room, desk.count)
        told = []
        for at, part in enumerate(parts, 1):
            if len(parts) > 1:
                yield Progress(status=f"reading part {at} of {len(parts)}")
            answer = await desk.write(
                words["system"], f"{task}\n\n{fenced(part)}", most_tokens=most
            )
            told.append(answer.ended())
        explanation = "\n\n".join(told)
        result = Explained(
            explanation=explanation,
            defines=names_defined(request.code),
            foreign=find_foreign_names(explanation, f"{request.code} {request.question}"),
            parts=len(parts),
        )
    yield answered(result, language)
    yield desk.done()
