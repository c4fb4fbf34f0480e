"""Answer a customer from a list of questions and answers, or hand over to a person."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from dimora.core.languages import Language, detect_language
from dimora.core.types import Event
from dimora.tasks.base import Right, Rooms
from dimora.tasks.matching import rank_passages
from dimora.tasks.ready._desk import Desk, quoted, require_text
from dimora.tasks.ready._faithful import find_unsupported
from dimora.tasks.ready._relevance import probability_of_answer
from dimora.tasks.ready.base import ReadyRequest, answered

RIGHT: Right = "use"

# Entries that are shown to the model, one at a time: the best by their words.
_CANDIDATES = 3
_ANSWER_TOKENS = 220


class Answer(ReadyRequest, frozen=True, kw_only=True, tag="answer"):
    """The entries of the list are parted by empty lines; the first line of each is its question.
    Those that share words with the customer's question are looked at one by one: how likely is it
    that the entry answers it? Below the `threshold` nothing is made up, and a person is asked for.
    An answer that has a name or number which neither entry nor question has is replaced by the
    entry's own words.
    """

    question: Annotated[str, Meta(description="What the customer asks.")]
    faq: Annotated[str, Meta(description="Questions and answers, parted by empty lines.")]
    threshold: Annotated[
        float, Meta(description="Least probability that an entry answers.", ge=0, le=1)
    ] = 0.5


class Citation(msgspec.Struct, frozen=True, kw_only=True):
    """`entry` counts from 1 in the order of the list; `passage` is its text."""

    entry: int
    passage: str
    probability: float


class CustomerAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`handed_over`: no entry answers, and `answer` says so. `probability` is that of the best
    entry. `verbatim`: the answer is the entry's own words."""

    answer: str
    handed_over: bool
    probability: float
    citations: tuple[Citation, ...] = ()
    verbatim: bool = False


RESULT = CustomerAnswer
WORDS: Mapping[Language, Mapping[str, str]] = {
    "it": {
        "system": "Rispondi a un cliente con cortesia e brevità, in italiano, solo con ciò che dice"
        " il testo.",
        "answer": "Domanda del cliente: {question}\nRispondi al cliente.",
        "over": "A questa domanda risponde una persona: la passo a un collega.",
    },
    "es": {
        "system": "Respondes a un cliente con cortesía y brevedad, en español, solo con lo que dice"
        " el texto.",
        "answer": "Pregunta del cliente: {question}\nResponde al cliente.",
        "over": "A esta pregunta responde una persona: se la paso a un compañero.",
    },
    "en": {
        "system": "You answer a customer politely and briefly, in English, only with what the text"
        " says.",
        "answer": "The customer's question: {question}\nAnswer the customer.",
        "over": "A person will answer this question: I hand it over to a colleague.",
    },
}
EXAMPLE: Mapping[str, Any] = {
    "question": "How long may I keep a book?",
    "faq": "When is the library open?\nFrom Tuesday to Saturday, 9:00 to 18:00.\n\n"
    "How long can I borrow books?\nA book may be kept for 28 days, and renewed twice.\n\n"
    "What does a card cost?\nNothing for residents, 10 euros a year for others.",
}


def entries_of(faq: str) -> list[str]:
    """The entries of a list, without the blanks around them."""
    return [
        part.strip() for part in re.split(r"\n[ \t]*\n", faq.replace("\r\n", "\n")) if part.strip()
    ]


def own_words(entry: str) -> str:
    """An entry without its question and the marks of question and answer."""
    first, _, rest = entry.partition("\n")
    told = rest.strip() or first
    return re.sub(r"^(?:[AR]|Risposta|Respuesta|Answer)\s*[:.]\s*", "", told)


async def run(request: Answer, rooms: Rooms) -> AsyncIterator[Event]:
    """One Answered, then Done."""
    require_text(request.question, "question")
    require_text(request.faq, "faq")
    language = request.language or detect_language(request.question)
    words = WORDS[language]
    entries = entries_of(request.faq)
    near = [at for at, _ in rank_passages(request.question, entries)[:_CANDIDATES]]
    async with Desk(request, rooms) as desk:
        async for place in desk.wait():
            yield place
        found = await _weigh(desk, request.question, language, entries, near)
        best = max(found, key=lambda one: one.probability, default=None)
        if best is None or best.probability < request.threshold:
            result = CustomerAnswer(
                answer=words["over"],
                handed_over=True,
                probability=best.probability if best else 0.0,
            )
        else:
            result = await _answer(desk, words, request.question, best)
    yield answered(result, language)
    yield desk.done()


async def _weigh(
    desk: Desk, question: str, language: Language, entries: Sequence[str], near: Sequence[int]
) -> list[Citation]:
    """How likely each of these entries answers."""
    found = []
    for at in near:
        share = round(await probability_of_answer(desk, question, entries[at], language), 4)
        found.append(Citation(entry=at + 1, passage=entries[at], probability=share))
    return found


async def _answer(
    desk: Desk, words: Mapping[str, str], question: str, best: Citation
) -> CustomerAnswer:
    asked = f"{quoted(best.passage)}\n\n{words['answer'].format(question=question.strip())}"
    told = await desk.write(words["system"], asked, most_tokens=_ANSWER_TOKENS)
    text = told.text.strip()
    verbatim = told.cut or not text or bool(find_unsupported(text, f"{best.passage} {question}"))
    return CustomerAnswer(
        answer=own_words(best.passage) if verbatim else text,
        handed_over=False,
        probability=best.probability,
        citations=(best,),
        verbatim=verbatim,
    )
