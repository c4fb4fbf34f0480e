"""Tell whether a text should be published, and why not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from dimora.core.languages import Language, detect_language
from dimora.core.types import Event, Progress
from dimora.tasks.base import Right, Rooms
from dimora.tasks.ready._desk import Desk, quoted, require_text
from dimora.tasks.ready._labels import weigh_labels
from dimora.tasks.ready._parts import split_text
from dimora.tasks.ready._private import PrivateSpan, find_private
from dimora.tasks.ready.base import ReadyRequest, answered

RIGHT: Right = "use"

Category = Literal["hate", "harassment", "violence", "sexual", "self_harm", "crime"]
CATEGORIES: tuple[Category, ...] = (
    "hate",
    "harassment",
    "violence",
    "sexual",
    "self_harm",
    "crime",
)
_REASON_TOKENS = 60


class Moderate(ReadyRequest, frozen=True, kw_only=True, tag="moderate"):
    """For each category the model is asked yes or no; the probability is that of the yes. Each part
    of a long text is judged, and the worst one counts. Personal data (mail addresses, telephone
    and account numbers) are found by their form and check digits, without the model.
    """

    text: Annotated[str, Meta(description="What to judge.")]
    threshold: Annotated[
        float, Meta(description="Probability from which a category counts.", ge=0, le=1)
    ] = 0.5
    reasons: Annotated[bool, Meta(description="Say why, for what counts.")] = False


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    category: Category
    flagged: bool
    probability: float
    reason: str = ""


class Moderated(msgspec.Struct, frozen=True, kw_only=True):
    """`flagged` when any of the `categories` is. `private` are places of personal data in the
    text; they flag nothing by themselves."""

    flagged: bool
    categories: tuple[Judged, ...]
    private: tuple[PrivateSpan, ...] = ()


RESULT = Moderated
WORDS: Mapping[Language, Mapping[str, str]] = {
    "it": {
        "system": 'Moderi testi. Rispondi in JSON con "sì" o "no", tra virgolette.',
        "ask": "Il testo contiene {what}?",
        "yes": "sì",
        "no": "no",
        "why": "Moderi testi. Spieghi in una frase breve, in italiano.",
        "reason": "Perché il testo contiene {what}?",
        "hate": "odio contro un gruppo di persone",
        "harassment": "insulti o minacce a una persona",
        "violence": "esaltazione della violenza",
        "sexual": "contenuto sessuale esplicito",
        "self_harm": "incitamento a farsi del male",
        "crime": "istruzioni per commettere un reato",
    },
    "es": {
        "system": 'Moderas textos. Responde en JSON con "sí" o "no", entre comillas.',
        "ask": "¿Contiene el texto {what}?",
        "yes": "sí",
        "no": "no",
        "why": "Moderas textos. Explicas en una frase breve, en español.",
        "reason": "¿Por qué el texto contiene {what}?",
        "hate": "odio contra un grupo de personas",
        "harassment": "insultos o amenazas a una persona",
        "violence": "exaltación de la violencia",
        "sexual": "contenido sexual explícito",
        "self_harm": "incitación a hacerse daño",
        "crime": "instrucciones para cometer un delito",
    },
    "en": {
        "system": 'You moderate texts. Answer in JSON with "yes" or "no", in quotes.',
        "ask": "Does the text contain {what}?",
        "yes": "yes",
        "no": "no",
        "why": "You moderate texts. You explain in one short sentence.",
        "reason": "Why does the text contain {what}?",
        "hate": "hate against a group of people",
        "harassment": "insults or threats to a person",
        "violence": "praise of violence",
        "sexual": "explicit sexual content",
        "self_harm": "encouragement to harm oneself",
        "crime": "instructions for a crime",
    },
}
EXAMPLE: Mapping[str, Any] = {
    "text": "You are an idiot, and I know where you live. Call me at +39 333 123 4567."
}


async def run(request: Moderate, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress for each part of a long text, one Answered, then Done."""
    require_text(request.text)
    language = request.language or detect_language(request.text)
    words = WORDS[language]
    worst: dict[Category, tuple[float, str]] = {}
    async with Desk(request, rooms) as desk:
        async for place in desk.wait():
            yield place
        room = await desk.room_for_text(words["system"], words["ask"], 96)
        parts = await split_text(request.text, room, desk.count)
        for at, part in enumerate(parts, 1):
            if len(parts) > 1:
                yield Progress(status=f"judging part {at} of {len(parts)}")
            for category in CATEGORIES:
                share = await _judge(desk, words, part, category)
                if category not in worst or share > worst[category][0]:
                    worst[category] = (share, part)
        judged = []
        for category, (share, part) in worst.items():
            flagged = share >= request.threshold
            reason = ""
            if flagged and request.reasons:
                asked = f"{quoted(part)}\n\n{words['reason'].format(what=words[category])}"
                told = await desk.write(words["why"], asked, most_tokens=_REASON_TOKENS)
                reason = told.text.strip()
            judged.append(
                Judged(category=category, flagged=flagged, probability=share, reason=reason)
            )
        result = Moderated(
            flagged=any(one.flagged for one in judged),
            categories=tuple(judged),
            private=await asyncio.to_thread(find_private, request.text),
        )
    yield answered(result, language)
    yield desk.done()


async def _judge(desk: Desk, words: Mapping[str, str], part: str, category: Category) -> float:
    asked = f"{quoted(part)}\n\n{words['ask'].format(what=words[category])}"
    shares = await weigh_labels(desk, words["system"], asked, (words["yes"], words["no"]))
    return round(shares[words["yes"]], 4)
