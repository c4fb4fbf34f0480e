"""Put a text into another language, and keep its shape, placeholders and numbers."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from dimora.core.errors import BadRequest
from dimora.core.languages import Language, detect_language
from dimora.core.types import Event, Progress
from dimora.tasks.base import Right, Rooms
from dimora.tasks.ready._desk import Desk, require_text
from dimora.tasks.ready._docx import Document
from dimora.tasks.ready._placeholders import Piece
from dimora.tasks.ready._shapes import Form, form_of, put_together, rewrapped, take_apart
from dimora.tasks.ready._translator import Translator
from dimora.tasks.ready.base import ReadyRequest, answered

RIGHT: Right = "use"

# A progress event for each line of a book would be more than anybody reads.
_TELL_EVERY = 10


class Translate(ReadyRequest, frozen=True, kw_only=True, tag="translate"):
    """Line by line; a paragraph that was broken into lines is one, and so is a cue of subtitles.
    Marks of Markdown, code, times of SRT and WebVTT, keys of JSON and identifiers of PO never reach
    the model, nor does anything of a Word document but its words. Placeholders (`{name}`, `%s`,
    `<b>`, addresses, code) are masked in its text; where it loses one, the words between them are
    translated one by one, so that each one comes through. Of PO what has no translation gets one,
    and what is marked as fuzzy a new one. Numbers are counted afterwards, and where they differ it
    is told.
    """

    text: Annotated[
        str,
        Meta(
            description="What to translate; a Word document in base64.", extra={"whole": (".docx",)}
        ),
    ]
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
        Literal["", "text", "srt", "po", "json", "docx"],
        Meta(description="What kind of file it is, if not what it looks like."),
    ] = ""
    skip: Annotated[
        tuple[str, ...],
        Meta(description="Keys of JSON whose values stay, such as id, *.url or meta.*."),
    ] = ()


class Translated(msgspec.Struct, frozen=True, kw_only=True):
    """`lines` is how many were translated. `notes` say, with the number of the line of the text (of
    the paragraph in a Word document), what should be looked at: numbers that differ, words of the
    glossary that were not used, lines that stayed as they were or got much longer, subtitles of
    more than two lines."""

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


async def run(request: Translate, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress, one Answered, then Done."""
    require_text(request.text)
    require_text(request.target, "target")
    glossary = read_glossary(request.glossary)
    form = request.form or form_of(request.text)
    document = await asyncio.to_thread(_document, request.text) if form == "docx" else None
    pieces = [] if document else take_apart(request.text, form, request.skip)
    work = _paragraphs(document) if document else _lines(pieces)
    language = request.language or detect_language("\n".join(words for _, words in work))
    async with Desk(request, rooms) as desk:
        async for place in desk.wait():
            yield place
        translator = Translator(
            desk, WORDS[language], request.target.strip(), request.tone, glossary
        )
        if document:
            steps = _translate_document(translator, document)
        else:
            steps = _translate_pieces(translator, pieces, form)
        begun = 0
        async for _ in steps:
            if begun % _TELL_EVERY == 0:
                yield Progress(status=f"translating {begun + 1} of {len(work)}")
            begun += 1
        result = Translated(
            translation=base64.b64encode(await asyncio.to_thread(document.data)).decode()
            if document
            else put_together(pieces),
            form=form,
            lines=len(work),
            notes=tuple(translator.notes),
        )
    yield answered(result, language)
    yield desk.done()


def _document(text: str) -> Document:
    """Raises BadRequest."""
    try:
        return Document(base64.b64decode("".join(text.split()), validate=True))
    except ValueError:
        raise BadRequest("a Word document is given in base64", param="text") from None


def _paragraphs(document: Document) -> list[tuple[int, str]]:
    return [(n, p.words) for n, p in enumerate(document.paragraphs, 1) if p.speaks]


def _lines(pieces: Sequence[Piece]) -> list[tuple[int, str]]:
    return [(at, piece.text) for at, piece in enumerate(pieces) if piece.speaks]


async def _translate_document(translator: Translator, document: Document) -> AsyncIterator[None]:
    """One step for each paragraph that is translated, before it is."""
    for number, paragraph in enumerate(document.paragraphs, 1):
        if paragraph.speaks:
            yield
            words = [stretch.words for stretch in paragraph.stretches]
            told = await translator.stretches(words, number)
            for stretch, new in zip(paragraph.stretches, told, strict=True):
                stretch.words = new


async def _translate_pieces(
    translator: Translator, pieces: Sequence[Piece], form: Form
) -> AsyncIterator[None]:
    """One step for each piece that is translated, before it is."""
    number = 1
    for piece in pieces:
        lines = piece.text.count("\n")
        if piece.speaks:
            yield
            await _translate(translator, piece, number, form)
        number += lines


async def _translate(translator: Translator, piece: Piece, number: int, form: Form) -> None:
    """A literal of a file is read, translated line by line, and written again."""
    if form in ("json", "po"):
        inner = take_apart(json.loads(piece.text), "text")
        for part in inner:
            if part.speaks:
                await _translate(translator, part, number, "text")
        piece.text = json.dumps(put_together(inner), ensure_ascii=False)
        return
    words = " ".join(piece.text.split()) if piece.width else piece.text
    piece.text = rewrapped(await translator.line(words, number), piece)
    if form == "srt" and piece.text.count("\n") > 1:
        translator.notes.append(f"line {number}: the subtitle has more than two lines")
