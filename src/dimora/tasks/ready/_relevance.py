"""How likely a text holds the answer to a question, as a model sees it. Not a task itself."""

from __future__ import annotations

from collections.abc import Mapping

from dimora.core.languages import Language, detect_language
from dimora.tasks.ready._desk import Desk, quoted
from dimora.tasks.ready._labels import weigh_labels
from dimora.tasks.ready._parts import split_text

WORDS: Mapping[Language, Mapping[str, str]] = {
    "it": {
        "check": "Giudichi se un testo contiene la risposta a una domanda."
        ' Rispondi in JSON con "sì" o "no", tra virgolette.',
        "ask": "Domanda: {question}\nIl testo contiene la risposta a questa domanda?",
        "yes": "sì",
    },
    "es": {
        "check": "Juzgas si un texto contiene la respuesta a una pregunta."
        ' Responde en JSON con "sí" o "no", entre comillas.',
        "ask": "Pregunta: {question}\n¿Contiene el texto la respuesta a esta pregunta?",
        "yes": "sí",
    },
    "en": {
        "check": "You judge whether a text holds the answer to a question."
        ' Answer in JSON with "yes" or "no", in quotes.',
        "ask": "Question: {question}\nDoes the text hold the answer to this question?",
        "yes": "yes",
    },
}
_NO = "no"


async def probability_of_answer(
    desk: Desk, question: str, text: str, language: Language | None = None
) -> float:
    """From 0 to 1. What is too long for the window is judged by its beginning, with a warning."""
    words = WORDS[language or detect_language(question)]
    ask = words["ask"].format(question=question.strip())
    room = await desk.room_for_text(words["check"], ask, 48)
    parts = await split_text(text, room, desk.count)
    if len(parts) > 1:
        desk.warnings.append("only the beginning of a text was judged: it is too long")
    asked = f"{quoted(parts[0] if parts else text)}\n\n{ask}"
    shares = await weigh_labels(desk, words["check"], asked, (words["yes"], _NO))
    return shares[words["yes"]]
