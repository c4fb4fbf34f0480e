"""Tell whether a text is positive, negative or neutral, and how sure the model is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from dimora.core.languages import Language, detect_language
from dimora.core.types import Event
from dimora.tasks.base import Right, Rooms
from dimora.tasks.ready._desk import Desk, require_text
from dimora.tasks.ready._labels import judge
from dimora.tasks.ready.base import ReadyRequest, answered

RIGHT: Right = "use"

Feeling = Literal["positive", "neutral", "negative"]
_FEELINGS: tuple[Feeling, ...] = ("positive", "neutral", "negative")


class Sentiment(ReadyRequest, frozen=True, kw_only=True, tag="sentiment"):
    """Two questions: is it an opinion at all, and is its writer pleased? All three words at once a
    small model takes for two. The probabilities are those of the words' tokens. A feeling less
    likely than the `threshold` is not told: the text counts as neutral."""

    text: Annotated[str, Meta(description="What to judge.")]
    threshold: Annotated[
        float, Meta(description="Least probability of positive or negative.", ge=0, le=1)
    ] = 0.0
    calibrate: Annotated[bool, Meta(description="Correct the model's leaning.")] = False


class SentimentFound(msgspec.Struct, frozen=True, kw_only=True):
    """`score` is from -1, surely negative, to 1, surely positive."""

    sentiment: Feeling
    score: float
    positive: float
    neutral: float
    negative: float


RESULT = SentimentFound
WORDS: Mapping[Language, Mapping[str, str]] = {
    "it": {
        "kind": "Dici se un testo è un'opinione (chi scrive loda o si lamenta) o una semplice"
        " informazione. Rispondi in JSON, con una di queste parole tra virgolette: {labels}.",
        "ask_kind": "Il testo è un'opinione o un'informazione?",
        "opinion": "opinione",
        "neutral": "informazione",
        "system": "Giudichi il sentimento di un testo."
        " Rispondi in JSON, con una di queste parole tra virgolette: {labels}.",
        "ask": "Qual è il sentimento del testo?",
        "positive": "positivo",
        "negative": "negativo",
    },
    "es": {
        "kind": "Dices si un texto es una opinión (quien escribe elogia o se queja) o una simple"
        " información. Responde en JSON, con una de estas palabras entre comillas: {labels}.",
        "ask_kind": "¿El texto es una opinión o una información?",
        "opinion": "opinión",
        "neutral": "información",
        "system": "Juzgas el sentimiento de un texto."
        " Responde en JSON, con una de estas palabras entre comillas: {labels}.",
        "ask": "¿Cuál es el sentimiento del texto?",
        "positive": "positivo",
        "negative": "negativo",
    },
    "en": {
        "kind": "You say whether a text is an opinion (its writer praises or complains) or mere"
        " information. Answer in JSON, with one of these words in quotes: {labels}.",
        "ask_kind": "Is the text an opinion or information?",
        "opinion": "opinion",
        "neutral": "information",
        "system": "You judge the sentiment of a text."
        " Answer in JSON, with one of these words in quotes: {labels}.",
        "ask": "What is the sentiment of the text?",
        "positive": "positive",
        "negative": "negative",
    },
}
EXAMPLE: Mapping[str, Any] = {
    "text": "The room was clean and the staff could not have been kinder. We will come back!"
}


async def run(request: Sentiment, rooms: Rooms) -> AsyncIterator[Event]:
    """One Answered, then Done."""
    require_text(request.text)
    language = request.language or detect_language(request.text)
    words = WORDS[language]
    async with Desk(request, rooms) as desk:
        async for place in desk.wait():
            yield place
        kinds = {"system": words["kind"], "ask": words["ask_kind"]}
        of = await judge(
            desk,
            kinds,
            request.text,
            (words["opinion"], words["neutral"]),
            calibrate=request.calibrate,
        )
        found = await judge(
            desk,
            words,
            request.text,
            (words["positive"], words["negative"]),
            calibrate=request.calibrate,
        )
        opinion = of[words["opinion"]]
        shares: dict[Feeling, float] = {
            "positive": round(opinion * found[words["positive"]], 4),
            "neutral": round(1 - opinion, 4),
            "negative": round(opinion * found[words["negative"]], 4),
        }
        likeliest: Feeling = max(_FEELINGS, key=lambda feeling: shares[feeling])
        result = SentimentFound(
            sentiment=likeliest if shares[likeliest] >= request.threshold else "neutral",
            score=round(shares["positive"] - shares["negative"], 4),
            positive=shares["positive"],
            neutral=shares["neutral"],
            negative=shares["negative"],
        )
    yield answered(result, language)
    yield desk.done()
