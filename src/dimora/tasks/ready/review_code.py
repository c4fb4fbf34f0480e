"""Look for faults in code or in a diff, each with the line it stands on."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from dimora.core.languages import Language
from dimora.core.types import Event, Progress
from dimora.tasks.base import Right, Rooms
from dimora.tasks.ready._code import fenced, language_of
from dimora.tasks.ready._desk import Desk, require_text
from dimora.tasks.ready._diff import Line, changed_lines, is_diff
from dimora.tasks.ready._parts import split_text
from dimora.tasks.ready.base import ReadyRequest, answered

RIGHT: Right = "use"

Kind = Literal["bug", "security", "performance", "clarity"]
Severity = Literal["high", "medium", "low"]
KINDS: tuple[Kind, ...] = ("bug", "security", "performance", "clarity")
SEVERITIES: tuple[Severity, ...] = ("high", "medium", "low")
_FINDINGS_AT_MOST = 6
_ANSWER_TOKENS = 600


class ReviewCode(ReadyRequest, frozen=True, kw_only=True, tag="review_code"):
    """The model sees the code with numbers before its lines, and gives number and words of the line
    that each finding is about. Both are looked for in the code; what is said of a line that there
    is not is left out and counted. Of a diff the new lines are meant, and numbers are those of the
    new file.
    """

    code: Annotated[str, Meta(description="Code, or a unified diff.")]
    focus: Annotated[str, Meta(description="What to look for above all, such as: SQL.")] = ""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """`quote` is the line as it stands in the code, `line` its number from 1, `path` its file where
    the code is a diff."""

    line: int
    quote: str
    kind: Kind
    severity: Severity
    problem: str
    suggestion: str = ""
    path: str = ""


class Reviewed(msgspec.Struct, frozen=True, kw_only=True):
    """`findings` in the order of the code. `dropped` is how many spoke of lines that there are
    not."""

    findings: tuple[Finding, ...]
    dropped: int = 0
    parts: int = 1


RESULT = Reviewed
WORDS: Mapping[Language, Mapping[str, str]] = {
    "it": {
        "system": "Rivedi codice e cerchi errori veri: ciò che dà un risultato sbagliato, si"
        " interrompe o apre la porta a chi attacca. Per ogni errore dai il numero della riga"
        " (line) e le sue parole (quote), dici il problema e come si corregge, in italiano."
        " Rispondi in JSON.",
        "ask": "Quali errori ci sono in questo codice?{focus}{new}",
        "new": " Le righe con + sono nuove.",
        "focus": " Guarda soprattutto: {focus}.",
    },
    "es": {
        "system": "Revisas código y buscas errores de verdad: lo que da un resultado falso, se"
        " interrumpe o abre la puerta a quien ataca. De cada error das el número de la línea"
        " (line) y sus palabras (quote), dices el problema y cómo se corrige, en español."
        " Responde en JSON.",
        "ask": "¿Qué errores hay en este código?{focus}{new}",
        "new": " Las líneas con + son nuevas.",
        "focus": " Mira sobre todo: {focus}.",
    },
    "en": {
        "system": "You review code and look for real faults: what gives a wrong result, breaks, or"
        " lets an attacker in. For each fault give the number of its line and its words (quote),"
        " say what is wrong and how to mend it, in English. Answer in JSON.",
        "ask": "Which faults are in this code?{focus}{new}",
        "new": " Lines with + are new.",
        "focus": " Look above all for: {focus}.",
    },
}
EXAMPLE: Mapping[str, Any] = {
    "code": "def average(prices):\n    total = 0\n    for price in prices:\n"
    "        total = price\n    return total / len(prices)\n"
}
_TEXT = {"type": "string"}
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "findings": {
            "type": "array",
            "maxItems": _FINDINGS_AT_MOST,
            "items": {
                "type": "object",
                "properties": {
                    "line": {"type": "integer"},
                    "quote": _TEXT,
                    "problem": _TEXT,
                    "suggestion": _TEXT,
                    "kind": {"enum": list(KINDS)},
                    "severity": {"enum": list(SEVERITIES)},
                },
                "required": ["line", "quote", "problem", "suggestion", "kind", "severity"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["findings"],
    "additionalProperties": False,
}


async def run(request: ReviewCode, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress for each part of long code, one Answered, then Done."""
    require_text(request.code, "code")
    language = request.language or language_of(request.code, request.focus)
    words = WORDS[language]
    focus = request.focus.strip()
    ask = words["ask"].format(
        focus=words["focus"].format(focus=focus) if focus else "",
        new=words["new"] if is_diff(request.code) else "",
    )
    told: list[dict[str, Any]] = []
    lines = lines_of(request.code)
    async with Desk(request, rooms) as desk:
        async for place in desk.wait():
            yield place
        room = await desk.room_for_text(words["system"], ask, _ANSWER_TOKENS)
        parts = await split_text(numbered(lines), room, desk.count)
        for at, part in enumerate(parts, 1):
            if len(parts) > 1:
                yield Progress(status=f"reading part {at} of {len(parts)}")
            answer = await desk.ask(
                words["system"],
                f"{ask}\n\n{fenced(part)}",
                _SCHEMA,
                most_tokens=_ANSWER_TOKENS,
                mend=True,
            )
            told += answer.value["findings"]
        findings = placed(told, lines)
        kept = {(f.path, f.line, f.problem): f for f in sorted(findings, key=lambda f: f.line)}
        result = Reviewed(
            findings=tuple(kept.values()), dropped=len(told) - len(findings), parts=len(parts)
        )
    yield answered(result, language)
    yield desk.done()


def lines_of(code: str) -> list[Line]:
    """The lines with their numbers; of a diff those of the new files."""
    if is_diff(code):
        return list(changed_lines(code))
    return [Line(number, words) for number, words in enumerate(code.splitlines(), 1)]


def numbered(lines: Sequence[Line]) -> str:
    """Lines as the model sees them; of a diff with the file's name, and a mark on what is new."""
    shown: list[str] = []
    before: Line | None = None
    for line in lines:
        if line.path and (before is None or before.path != line.path):
            shown.append(f"\n{line.path}")
        elif before and line.number != before.number + 1:
            shown.append("")
        mark = ("+ " if line.added else "  ") if line.path else ""
        shown.append(f"{line.number} {mark}{line.words}")
        before = line
    return "\n".join(shown) + "\n"


def placed(told: Sequence[Mapping[str, Any]], lines: Sequence[Line]) -> list[Finding]:
    """The findings whose line stands in the code, with its number."""
    found = []
    for one in told:
        place = find_line(one["quote"], lines, one["line"])
        if place is None or not one["problem"].strip():
            continue
        found.append(
            Finding(
                line=place.number,
                path=place.path,
                quote=place.words.strip(),
                kind=_one_of(KINDS, one["kind"]),
                severity=_one_of(SEVERITIES, one["severity"]),
                problem=one["problem"].strip(),
                suggestion=one["suggestion"].strip(),
            )
        )
    return found


def find_line(quote: str, lines: Sequence[Line], number: int = 0) -> Line | None:
    """The line that is quoted, whole or in part, whatever its white space: of those that are the
    same the one nearest to the number. Without such a line the one of that number, if it shares a
    word with the quote."""
    words = re.sub(rf"^\s*{number}\b[ :+]*", "", quote) if number else quote
    wanted = next((_bare(line) for line in words.splitlines() if len(_bare(line)) > 1), "")
    near = sorted(lines, key=lambda line: abs(line.number - number)) if number else lines
    if wanted:
        same = (one for one in near if _bare(one.words) == wanted)
        within = (one for one in near if wanted in _bare(one.words))
        if place := next(same, None) or next(within, None):
            return place
    told = set(re.findall(r"\w{3,}", quote))
    return next(
        (o for o in near if o.number == number and told & set(re.findall(r"\w{3,}", o.words))),
        None,
    )


def _bare(line: str) -> str:
    return re.sub(r"\s", "", line)


def _one_of(choices: tuple[Any, ...], word: str) -> Any:
    return next(choice for choice in choices if choice == word)
