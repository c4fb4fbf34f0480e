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
from dimora.tasks.ready._diff import changed_lines, is_diff
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
    """The model copies the line that each finding is about. It is looked for in the code, and its
    number is counted there; what is said of a line that there is not is left out and counted. Of a
    diff the new lines are meant, and numbers are those of the new file.
    """

    code: Annotated[str, Meta(description="Code, or a unified diff.")]
    focus: Annotated[str, Meta(description="What to look for above all, such as: SQL.")] = ""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """`quote` is the line as it stands in the code, `line` its number from 1."""

    line: int
    quote: str
    kind: Kind
    severity: Severity
    problem: str
    suggestion: str = ""


class Reviewed(msgspec.Struct, frozen=True, kw_only=True):
    """`findings` in the order of the code. `dropped` is how many spoke of lines that there are
    not."""

    findings: tuple[Finding, ...]
    dropped: int = 0
    parts: int = 1


RESULT = Reviewed
WORDS: Mapping[Language, Mapping[str, str]] = {
    "it": {
        "system": "Rivedi codice e cerchi errori veri. Per ogni errore copi la riga esatta"
        " (quote), dici il problema e come si corregge, in italiano. Rispondi in JSON.",
        "ask": "Quali errori ci sono in questo codice?{focus}",
        "focus": " Guarda soprattutto: {focus}.",
    },
    "es": {
        "system": "Revisas código y buscas errores de verdad. De cada error copias la línea exacta"
        " (quote), dices el problema y cómo se corrige, en español. Responde en JSON.",
        "ask": "¿Qué errores hay en este código?{focus}",
        "focus": " Mira sobre todo: {focus}.",
    },
    "en": {
        "system": "You review code and look for real faults. For each fault you copy the exact"
        " line (quote), say what is wrong and how to mend it, in English. Answer in JSON.",
        "ask": "Which faults are in this code?{focus}",
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
                    "quote": _TEXT,
                    "problem": _TEXT,
                    "suggestion": _TEXT,
                    "kind": {"enum": list(KINDS)},
                    "severity": {"enum": list(SEVERITIES)},
                },
                "required": ["quote", "problem", "suggestion", "kind", "severity"],
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
    ask = words["ask"].format(focus=words["focus"].format(focus=focus) if focus else "")
    told: list[dict[str, str]] = []
    async with Desk(request, rooms) as desk:
        async for place in desk.wait():
            yield place
        room = await desk.room_for_text(words["system"], ask, _ANSWER_TOKENS)
        parts = await split_text(request.code, room, desk.count)
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
        findings = placed(told, request.code)
        kept = {(f.line, f.problem): f for f in sorted(findings, key=lambda f: f.line)}
        result = Reviewed(
            findings=tuple(kept.values()), dropped=len(told) - len(findings), parts=len(parts)
        )
    yield answered(result, language)
    yield desk.done()


def placed(told: Sequence[Mapping[str, str]], code: str) -> list[Finding]:
    """The findings whose line stands in the code, with its number; of lines that are the same the
    first one is meant."""
    lines = list(changed_lines(code)) if is_diff(code) else list(enumerate(code.splitlines(), 1))
    found = []
    for one in told:
        place = find_line(one["quote"], lines)
        if place is None or not one["problem"].strip():
            continue
        number, quote = place
        found.append(
            Finding(
                line=number,
                quote=quote.strip(),
                kind=_one_of(KINDS, one["kind"]),
                severity=_one_of(SEVERITIES, one["severity"]),
                problem=one["problem"].strip(),
                suggestion=one["suggestion"].strip(),
            )
        )
    return found


def find_line(quote: str, lines: Sequence[tuple[int, str]]) -> tuple[int, str] | None:
    """Number and words of the line that is quoted, whole or in part, whatever its white space; of
    several quoted lines the first."""
    wanted = next((_bare(line) for line in quote.splitlines() if len(_bare(line)) > 1), "")
    if not wanted:
        return None
    same = (one for one in lines if _bare(one[1]) == wanted)
    within = (one for one in lines if wanted in _bare(one[1]))
    return next(same, None) or next(within, None)


def _bare(line: str) -> str:
    return re.sub(r"\s", "", line)


def _one_of(choices: tuple[Any, ...], word: str) -> Any:
    return next(choice for choice in choices if choice == word)
