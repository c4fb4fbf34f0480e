"""Write the minutes of a meeting from what was said: points, decisions, who does what."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from dimora.core.languages import Language, detect_language, is_common_word
from dimora.core.types import Event, Progress
from dimora.tasks.base import Right, Rooms
from dimora.tasks.matching import rank_passages
from dimora.tasks.ready._desk import Desk, quoted, require_text
from dimora.tasks.ready._faithful import Unsupported, find_unsupported
from dimora.tasks.ready._parts import split_text
from dimora.tasks.ready._values import find_span
from dimora.tasks.ready.base import ReadyRequest, answered

RIGHT: Right = "use"

_ANSWER_TOKENS = 400
_ITEMS_AT_MOST = 8
_SPEAKER = re.compile(
    r"^[ \t]*(?:[\[(]?\d{1,2}:\d\d(?::\d\d)?[\])]?[ \t]*)?([A-ZÀ-Ý][\w.'’ -]{1,40}?)[ \t]*"
    r"(?:\([^)\n]*\))?:[ \t]",
    re.MULTILINE,
)


class Minutes(ReadyRequest, frozen=True, kw_only=True, tag="minutes"):
    """Each point, decision and task comes with the line of the text it is nearest to; names and
    numbers that the text does not have are listed. Who does a task, and by when, is told only where
    those words stand in the text. A text longer than the window is read in parts.
    """

    text: Annotated[str, Meta(description="What was said: a transcript or notes.")]
    title: Annotated[str, Meta(description="A heading for the minutes.")] = ""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """`line` is the line of the text that is nearest to it, from 1; 0 for none."""

    words: str
    line: int = 0


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """`who` and `due` as they stand in the text; empty where it does not say."""

    what: str
    who: str = ""
    due: str = ""
    line: int = 0


class MinutesWritten(msgspec.Struct, frozen=True, kw_only=True):
    """`minutes` is all of it as Markdown. `present` are those whose words the text has."""

    minutes: str
    present: tuple[str, ...] = ()
    points: tuple[Item, ...] = ()
    decisions: tuple[Item, ...] = ()
    actions: tuple[Action, ...] = ()
    unsupported: tuple[Unsupported, ...] = ()
    parts: int = 1


RESULT = MinutesWritten
WORDS: Mapping[Language, Mapping[str, str]] = {
    "it": {
        "system": "Scrivi verbali di riunioni in italiano, con solo ciò che è stato detto. Rispondi"
        " in JSON.",
        "ask_points": "Di che cosa si è parlato? Una frase breve per ogni argomento, senza dire chi"
        " l'ha detto.",
        "ask_decisions": "Che cosa è stato deciso? Una frase breve per ogni decisione; nulla, se"
        " non si è deciso nulla.",
        "ask_actions": "Chi si è impegnato a fare che cosa, ed entro quando? Per ogni impegno: il"
        " nome di chi lo fa (who), che cosa fa (what), entro quando (due); vuoto, se nessuno lo"
        " dice.",
        "title": "Verbale",
        "present": "Presenti",
        "points": "Argomenti",
        "decisions": "Decisioni",
        "actions": "Compiti",
    },
    "es": {
        "system": "Escribes actas de reuniones en español, solo con lo que se dijo. Responde en"
        " JSON.",
        "ask_points": "¿De qué se habló? Una frase breve por cada tema, sin decir quién lo dijo.",
        "ask_decisions": "¿Qué se decidió? Una frase breve por cada decisión; nada, si no se"
        " decidió nada.",
        "ask_actions": "¿Quién se comprometió a hacer qué, y para cuándo? De cada compromiso: el"
        " nombre de quien lo hace (who), qué hace (what) y para cuándo (due); vacío, si nadie lo"
        " dice.",
        "title": "Acta",
        "present": "Presentes",
        "points": "Temas",
        "decisions": "Decisiones",
        "actions": "Tareas",
    },
    "en": {
        "system": "You write the minutes of meetings in English, with only what was said. Answer in"
        " JSON.",
        "ask_points": "What was talked about? One short sentence for each topic, without who said"
        " it.",
        "ask_decisions": "What was decided? One short sentence for each decision; nothing where"
        " nothing was decided.",
        "ask_actions": "Which tasks did somebody take on? For each: who does it (who), what is to"
        " be done (what), and until when (due), empty where nobody says.",
        "title": "Minutes",
        "present": "Present",
        "points": "Points",
        "decisions": "Decisions",
        "actions": "Tasks",
    },
}
EXAMPLE: Mapping[str, Any] = {
    "text": "Anna: The roof of the school leaks again, above room 4.\n"
    "Marco: I have an offer of 3,200 euros from Edilnova.\n"
    "Anna: Then let us take it. Marco, can you sign it by Friday?\n"
    "Marco: I will. And somebody must tell the parents.\n"
    "Lucia: I write to them tomorrow.\n"
}
_TEXT = {"type": "string"}
_ACTION = {
    "type": "object",
    "properties": {"who": _TEXT, "what": _TEXT, "due": _TEXT},
    "required": ["who", "what", "due"],
    "additionalProperties": False,
}


def _list_of(name: str, item: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": "array", "maxItems": _ITEMS_AT_MOST, "items": item}},
        "required": [name],
        "additionalProperties": False,
    }


# Asked one by one: all at once, a small model forgets the last.
_SCHEMAS = {
    "points": _list_of("points", _TEXT),
    "decisions": _list_of("decisions", _TEXT),
    "actions": _list_of("actions", _ACTION),
}


async def run(request: Minutes, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress for each part of a long text, one Answered, then Done."""
    require_text(request.text)
    language = request.language or detect_language(request.text)
    words = WORDS[language]
    told: list[dict[str, Any]] = []
    async with Desk(request, rooms) as desk:
        async for place in desk.wait():
            yield place
        longest = max((words[f"ask_{name}"] for name in _SCHEMAS), key=len)
        room = await desk.room_for_text(words["system"], longest, _ANSWER_TOKENS)
        parts = await split_text(request.text, room, desk.count)
        for at, part in enumerate(parts, 1):
            if len(parts) > 1:
                yield Progress(status=f"reading part {at} of {len(parts)}")
            found: dict[str, Any] = {}
            for name, schema in _SCHEMAS.items():
                answer = await desk.ask(
                    words["system"],
                    f"{quoted(part)}\n\n{words[f'ask_{name}']}",
                    schema,
                    most_tokens=_ANSWER_TOKENS,
                    mend=True,
                )
                found |= answer.value
            told.append(found)
        result = make_minutes(told, request.text, request.title.strip(), words)
    yield answered(result, language)
    yield desk.done()


def make_minutes(
    told: Sequence[Mapping[str, Any]], text: str, title: str, words: Mapping[str, str]
) -> MinutesWritten:
    """What was told of each part, put together and held against the text."""
    lines = text.splitlines()
    points = _items((p for part in told for p in part.get("points", ())), lines)
    decisions = _items((d for part in told for d in part.get("decisions", ())), lines)
    actions = _actions((a for part in told for a in part.get("actions", ())), text)
    present = speakers_of(text)
    page = [f"# {title or words['title']}"]
    if present:
        page.append(f"**{words['present']}:** {', '.join(present)}")
    for heading, rows in (
        ("points", [item.words for item in points]),
        ("decisions", [item.words for item in decisions]),
        ("actions", [_row(action) for action in actions]),
    ):
        if rows:
            page.append(f"## {words[heading]}\n\n" + "\n".join(f"- {row}" for row in rows))
    said = "\n".join([*(i.words for i in (*points, *decisions)), *(a.what for a in actions)])
    return MinutesWritten(
        minutes="\n\n".join(page),
        present=present,
        points=points,
        decisions=decisions,
        actions=actions,
        unsupported=find_unsupported(said, f"{text}\n{title}"),
        parts=len(told),
    )


def speakers_of(text: str) -> tuple[str, ...]:
    """Those before whose words a name and a colon stand, in their order; once is not enough to
    tell a speaker from a heading, unless most lines are like that."""
    names = [found[1].strip() for found in _SPEAKER.finditer(text)]
    lines = sum(bool(line.strip()) for line in text.splitlines())
    most = 2 * len(names) >= lines
    return tuple(dict.fromkeys(name for name in names if most or names.count(name) > 1))


def _items(told: Any, lines: Sequence[str]) -> tuple[Item, ...]:
    found = dict.fromkeys(" ".join(words.split()) for words in told)
    return tuple(Item(words=words, line=nearest_line(words, lines)) for words in found if words)


def _actions(told: Any, text: str) -> tuple[Action, ...]:
    lines = text.splitlines()
    found: dict[str, Action] = {}
    for one in told:
        what = " ".join(one["what"].split())
        if what and what not in found:
            found[what] = Action(
                what=what,
                who=_standing(one["who"], text),
                due=_standing(one["due"], text),
                line=nearest_line(f"{one['who']} {what} {one['due']}", lines),
            )
    return tuple(found.values())


def _standing(words: str, text: str) -> str:
    """The words as the text has them; nothing where it has not, or where they say nothing."""
    span = find_span(words, text)
    if span is None or is_common_word(words.strip()):
        return ""
    return text[slice(*span)]


def nearest_line(words: str, lines: Sequence[str]) -> int:
    """The number of the line that shares most with these words; 0 for none."""
    ranked = rank_passages(words, lines)
    return ranked[0][0] + 1 if ranked else 0


def _row(action: Action) -> str:
    head = f"**{action.who}**: " if action.who else ""
    return f"{head}{action.what}" + (f" ({action.due})" if action.due else "")
