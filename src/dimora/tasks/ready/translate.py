"""Put a text into another language, and keep its shape, placeholders and numbers."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from dimora.core.errors import BadRequest
from dimora.core.languages import Language, detect_language
from dimora.core.types import Event, Progress
from dimora.tasks.base import Right, Rooms
from dimora.tasks.ready._desk import Desk, quoted, require_text
from dimora.tasks.ready._faithful import numbers_of
from dimora.tasks.ready._shapes import (
    Form,
    Piece,
    between,
    form_of,
    mask,
    placeholders_of,
    put_together,
    take_apart,
    unmask,
)
from dimora.tasks.ready.base import ReadyRequest, answered

RIGHT: Right = "use"

# A progress event for each line of a book would be more than anybody reads.
_TELL_EVERY = 10


class Translate(ReadyRequest, frozen=True, kw_only=True, tag="translate"):
    """Line by line. Marks of Markdown, code, times of SRT, keys of JSON and identifiers of PO never
    reach the model. Placeholders (`{name}`, `%s`, `<b>`, addresses, code) are masked in its text;
    where it loses one, the words between them are translated one by one, so that each one comes
    through. Numbers are counted afterwards, and where they differ it is told.
    """

    text: Annotated[str, Meta(description="What to translate.")]
    target: Annotated[
        str, Meta(description="The language to translate into, such as it, es, en, fr, German.")
    ]
    tone: Annotated[
        Literal["", "formal", "informal"], Meta(description="How the reader is spoken to.")
    ] = ""
    glossary: Annotated[
        tuple[str, ...], Meta(description="Words with their translation: words=translation.")
    ] = ()
    form: Annotated[
        Literal["", "text", "srt", "po", "json"],
        Meta(description="What kind of file it is, if not what it looks like."),
    ] = ""


class Translated(msgspec.Struct, frozen=True, kw_only=True):
    """`lines` is how many were translated. `notes` say, with the number of the line of the text,
    what should be looked at: numbers that differ, words of the glossary that were not used, lines
    that stayed as they were."""

    translation: str
    form: Form
    lines: int
    notes: tuple[str, ...] = ()


RESULT = Translated
WORDS: Mapping[Language, Mapping[str, str]] = {
    "it": {
        "system": "Sei un traduttore. Traduci in {target}. Rispondi solo con la traduzione, su una"
        " riga. Lascia invariati numeri, nomi propri e segni come <1>.{rules}",
        "ask": "Traduci in {target}.",
        "formal": " Usa un tono formale.",
        "informal": " Usa un tono informale.",
        "glossary": ' Traduci "{source}" con "{wanted}".',
        "it": "italiano",
        "es": "spagnolo",
        "en": "inglese",
    },
    "es": {
        "system": "Eres traductor. Traduces al {target}. Responde solo con la traducción, en una"
        " línea. Deja sin cambios números, nombres propios y signos como <1>.{rules}",
        "ask": "Traduce al {target}.",
        "formal": " Usa un tono formal.",
        "informal": " Usa un tono informal.",
        "glossary": ' Traduce "{source}" como "{wanted}".',
        "it": "italiano",
        "es": "español",
        "en": "inglés",
    },
    "en": {
        "system": "You are a translator. You translate into {target}. Answer with the translation"
        " alone, on one line. Keep numbers, proper names and marks like <1> unchanged.{rules}",
        "ask": "Translate into {target}.",
        "formal": " Use a formal tone.",
        "informal": " Use an informal tone.",
        "glossary": ' Translate "{source}" as "{wanted}".',
        "it": "Italian",
        "es": "Spanish",
        "en": "English",
    },
}
EXAMPLE: Mapping[str, Any] = {
    "text": "# Welcome, {name}\n\n- You have %d new messages.\n- Open `settings` to change it.\n",
    "target": "it",
}


def read_glossary(entries: Sequence[str]) -> dict[str, str]:
    """Raises BadRequest for an entry that is no pair."""
    pairs = {}
    for entry in entries:
        source, equals, wanted = entry.partition("=")
        if not (equals and source.strip() and wanted.strip()):
            raise BadRequest("an entry of the glossary is words=translation", param="glossary")
        pairs[source.strip()] = wanted.strip()
    return pairs


class _Translator:
    """Translates lines, each for itself, and notes what is to be looked at."""

    def __init__(
        self, desk: Desk, words: Mapping[str, str], target: str, tone: str, glossary: dict[str, str]
    ) -> None:
        self.notes: list[str] = []
        self._desk = desk
        self._words = words
        self._target = words.get(target, target)
        self._tone = words[tone] if tone else ""
        self._glossary = glossary

    async def line(self, text: str, number: int) -> str:
        """One line, with all its placeholders."""
        masked, kept = mask(text)
        told = unmask(await self._ask(masked), kept)
        if told is None:
            told = await self._piecewise(text)
        if numbers_of(told) != numbers_of(text):
            self.notes.append(f"line {number}: the numbers differ")
        for source, wanted in self._used(text).items():
            if wanted.casefold() not in told.casefold():
                self.notes.append(f"line {number}: the glossary's {source!r} was not kept")
        return told

    async def _piecewise(self, text: str) -> str:
        pieces = between(text)
        for piece in pieces:
            if piece.speaks:
                told = await self._ask(piece.text)
                # No placeholder may come out of words that had none.
                piece.text = piece.text if placeholders_of(told) else told
        return put_together(pieces)

    async def _ask(self, text: str) -> str:
        rules = self._tone + "".join(
            self._words["glossary"].format(source=source, wanted=wanted)
            for source, wanted in self._used(text).items()
        )
        system = self._words["system"].format(target=self._target, rules=rules)
        question = f"{self._words['ask'].format(target=self._target)}\n\n{quoted(text)}"
        size = await self._desk.count(text)
        answer = await self._desk.write(system, question, most_tokens=3 * size + 32)
        lines = [re.sub(r"</?text>", "", line).strip() for line in answer.text.splitlines()]
        told = " ".join(line for line in lines if line)
        return told or text

    def _used(self, text: str) -> dict[str, str]:
        return {s: w for s, w in self._glossary.items() if s.casefold() in text.casefold()}


async def run(request: Translate, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress, one Answered, then Done."""
    require_text(request.text)
    require_text(request.target, "target")
    glossary = read_glossary(request.glossary)
    form = request.form or form_of(request.text)
    pieces = take_apart(request.text, form)
    language = request.language or detect_language(request.text)
    async with Desk(request, rooms) as desk:
        async for place in desk.wait():
            yield place
        translator = _Translator(
            desk, WORDS[language], request.target.strip(), request.tone, glossary
        )
        total = sum(piece.speaks for piece in pieces)
        number, begun = 1, 0
        for piece in pieces:
            lines = piece.text.count("\n")
            if piece.speaks:
                if begun % _TELL_EVERY == 0:
                    yield Progress(status=f"translating {begun + 1} of {total}")
                begun += 1
                await _translate(translator, piece, number, form)
            number += lines
        result = Translated(
            translation=put_together(pieces),
            form=form,
            lines=total,
            notes=tuple(translator.notes),
        )
    yield answered(result, language)
    yield desk.done()


async def _translate(translator: _Translator, piece: Piece, number: int, form: Form) -> None:
    """A literal of a file is read, translated line by line, and written again."""
    if form not in ("json", "po"):
        piece.text = await translator.line(piece.text, number)
        return
    inner = take_apart(json.loads(piece.text), "text")
    for part in inner:
        if part.speaks:
            part.text = await translator.line(part.text, number)
    piece.text = json.dumps(put_together(inner), ensure_ascii=False)
