"""Tell which of your labels fits a text, and how sure the model is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from dimora.core.errors import BadRequest
from dimora.core.languages import Language, detect_language
from dimora.core.types import Event
from dimora.tasks.base import Right, Rooms
from dimora.tasks.ready._desk import Desk, require_text
from dimora.tasks.ready._labels import (
    Likelihood,
    check_labels,
    judge,
    ranked,
)
from dimora.tasks.ready.base import ReadyRequest, answered

RIGHT: Right = "use"


class Classify(ReadyRequest, frozen=True, kw_only=True, tag="classify"):
    """The probabilities are those of the label's tokens, not what the model says of itself.

    Below the `threshold` the text belongs to `other`. `calibrate` takes out what the model would
    say of no text at all, for twice the work. Of a text longer than the window the beginning is
    judged, with a warning.
    """

    text: Annotated[str, Meta(description="What to judge.")]
    labels: Annotated[tuple[str, ...], Meta(description="What it may be; two or more.")]
    threshold: Annotated[
        float, Meta(description="Least probability of a label, else it is `other`.", ge=0, le=1)
    ] = 0.0
    other: Annotated[str, Meta(description="The word for what fits no label.")] = "other"
    calibrate: Annotated[bool, Meta(description="Correct the model's leaning.")] = False


class Classified(msgspec.Struct, frozen=True, kw_only=True):
    """`label` is one of the labels, or `other` where none was likely enough; `probability` is
    that of the likeliest label, `probabilities` of all, likeliest first."""

    label: str
    probability: float
    probabilities: tuple[Likelihood, ...]


RESULT = Classified
WORDS: Mapping[Language, Mapping[str, str]] = {
    "it": {
        "system": "Assegni un testo a una di queste etichette: {labels}."
        " Rispondi in JSON, solo con l'etichetta tra virgolette.",
        "ask": "Quale etichetta descrive meglio il testo?",
    },
    "es": {
        "system": "Asignas un texto a una de estas etiquetas: {labels}."
        " Responde en JSON, solo con la etiqueta entre comillas.",
        "ask": "¿Qué etiqueta describe mejor el texto?",
    },
    "en": {
        "system": "You put a text under one of these labels: {labels}."
        " Answer in JSON, with the label alone, in quotes.",
        "ask": "Which label describes the text best?",
    },
}
EXAMPLE: Mapping[str, Any] = {
    "text": "My invoice of March was charged twice, please give me the money back.",
    "labels": ["billing", "delivery", "technical problem"],
}


async def run(request: Classify, rooms: Rooms) -> AsyncIterator[Event]:
    """One Answered, then Done."""
    require_text(request.text)
    labels = check_labels(request.labels)
    if request.other.strip() in labels:
        raise BadRequest("`other` is one of the labels", param="other")
    language = request.language or detect_language(request.text)
    async with Desk(request, rooms) as desk:
        async for place in desk.wait():
            yield place
        found = await judge(
            desk, WORDS[language], request.text, labels, calibrate=request.calibrate
        )
        order = ranked(found)
        likely = order[0].probability >= request.threshold
        result = Classified(
            label=order[0].label if likely else request.other,
            probability=order[0].probability,
            probabilities=order,
        )
    yield answered(result, language)
    yield desk.done()
