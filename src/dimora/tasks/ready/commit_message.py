"""Write the commit message of a diff."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from dimora.core.errors import BadRequest
from dimora.core.languages import Language
from dimora.core.types import Event, Progress
from dimora.tasks.base import Right, Rooms
from dimora.tasks.ready._desk import Desk, quoted, require_text
from dimora.tasks.ready._faithful import find_unsupported
from dimora.tasks.ready._labels import judge
from dimora.tasks.ready._parts import split_text
from dimora.tasks.ready.base import ReadyRequest, answered

RIGHT: Right = "use"

_SUBJECT_CHARACTERS = 72
_POINTS_AT_MOST = 6
_ANSWER_TOKENS = 220
_TYPES = ("feat", "fix", "refactor", "docs", "test", "perf", "build", "chore")


class CommitMessage(ReadyRequest, frozen=True, kw_only=True, tag="commit_message"):
    """What changed, in a line of at most 72 characters and a few points. A diff longer than the
    window is read in parts. Points with a name or number that the diff has not are left out.
    English where no language is given: a diff's words are code.
    """

    diff: Annotated[str, Meta(description="A unified diff, such as git writes it.")]
    conventional: Annotated[
        bool, Meta(description="Begin with feat, fix, docs, ... as Conventional Commits do.")
    ] = False


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """`message` is the whole: the subject, an empty line, the points. `files` are those the diff
    changes."""

    message: str
    subject: str
    points: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


RESULT = Message
WORDS: Mapping[Language, Mapping[str, str]] = {
    "it": {
        "system": "Scrivi messaggi di commit in italiano. La prima riga dice in meno di 60"
        " caratteri che cosa cambia; poi uno o più punti, ciascuno con un trattino.",
        "judge": "Giudichi di che tipo è una modifica. Rispondi in JSON con una di queste parole"
        " tra virgolette: {labels}.",
        "kind": "Di che tipo è questa modifica?",
        "ask": "Scrivi il messaggio di commit per queste modifiche.",
    },
    "es": {
        "system": "Escribes mensajes de commit en español. La primera línea dice en menos de 60"
        " caracteres qué cambia; después uno o más puntos, cada uno con un guion.",
        "judge": "Juzgas de qué tipo es un cambio. Responde en JSON con una de estas palabras"
        " entre comillas: {labels}.",
        "kind": "¿De qué tipo es este cambio?",
        "ask": "Escribe el mensaje de commit de estos cambios.",
    },
    "en": {
        "system": "You write commit messages. The first line says in less than 60 characters what"
        " changes, as a command; then one point or more, each with a dash.",
        "judge": "You judge of which type a change is. Answer in JSON with one of these words in"
        " quotes: {labels}.",
        "kind": "Of which type is this change?",
        "ask": "Write the commit message for these changes.",
    },
}
EXAMPLE: Mapping[str, Any] = {
    "diff": "diff --git a/prices.py b/prices.py\n--- a/prices.py\n+++ b/prices.py\n"
    "@@ -1,3 +1,5 @@\n"
    " def total(prices):\n-    return sum(prices)\n+    if not prices:\n+        return 0.0\n"
    "+    return round(sum(prices), 2)\n"
}


def files_of(diff: str) -> tuple[str, ...]:
    """Raises BadRequest for what is no unified diff."""
    pairs = re.findall(r"^--- (?:a/)?(\S++).*\n\+\+\+ (?:b/)?(\S+)", diff, re.MULTILINE)
    named = [new if new != "/dev/null" else old for old, new in pairs]
    named += re.findall(r"^rename to (.+)$", diff, re.MULTILINE)
    if not named and not re.search(r"^@@ |^diff --git ", diff, re.MULTILINE):
        raise BadRequest("this is no unified diff", hint="git diff | dimora do commit-message")
    return tuple(dict.fromkeys(named))


def shortened(subject: str, room: int = _SUBJECT_CHARACTERS) -> str:
    """One line without a full stop, cut at a word."""
    line = " ".join(subject.split()).rstrip(".")
    if len(line) <= room:
        return line
    return line[: room + 1].rpartition(" ")[0].rstrip(",;:") or line[:room]


async def run(request: CommitMessage, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress for each part of a long diff, one Answered, then Done."""
    require_text(request.diff, "diff")
    files = files_of(request.diff)
    language = request.language or "en"
    words = WORDS[language]
    system, ask = words["system"], words["ask"]
    told: list[tuple[str, list[str]]] = []
    async with Desk(request, rooms) as desk:
        async for place in desk.wait():
            yield place
        room = await desk.room_for_text(system, ask, _ANSWER_TOKENS)
        parts = await split_text(request.diff, room, desk.count)
        for at, part in enumerate(parts, 1):
            if len(parts) > 1:
                yield Progress(status=f"reading part {at} of {len(parts)}")
            answer = await desk.write(
                system, f"{quoted(part)}\n\n{ask}", most_tokens=_ANSWER_TOKENS
            )
            told.append(read_message(answer.text))
        subject = told[0][0]
        if len(told) > 1:
            lines = "\n".join(each for each, _ in told)
            answer = await desk.write(
                system, f"{quoted(lines)}\n\n{ask}", most_tokens=_ANSWER_TOKENS
            )
            subject = read_message(answer.text)[0] or subject
        kind = ""
        if request.conventional:
            found = await judge(
                desk,
                {"system": words["judge"], "ask": words["kind"]},
                parts[0],
                _TYPES,
                calibrate=False,
            )
            kind = max(found, key=lambda each: found[each])
        points = [p for _, some in told for p in some if not find_unsupported(p, request.diff)]
        result = make_message(subject, points, files, kind)
    yield answered(result, language)
    yield desk.done()


def read_message(text: str) -> tuple[str, list[str]]:
    """Subject and points of what a model wrote; marks of Markdown and fences do not count."""
    lines = [line.strip().strip("`").replace("**", "").strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not re.fullmatch(r"\w*:|[-#]+", line)]
    points = [m[1].strip() for line in lines if (m := re.match(r"[-*•]\s+(.+)", line))]
    subjects = [line for line in lines if not re.match(r"[-*•]\s", line)]
    subject = re.sub(
        r"^(?:subject|commit message|#+)\s*:?\s*",
        "",
        (subjects or points or [""])[0],
        flags=re.IGNORECASE,
    )
    return subject.strip(), points[:_POINTS_AT_MOST]


def make_message(subject: str, points: list[str], files: tuple[str, ...], kind: str) -> Message:
    """The message; a subject that says nothing names the files."""
    head = f"{kind}: " if kind else ""
    line = head + shortened(subject or ", ".join(files) or "-", _SUBJECT_CHARACTERS - len(head))
    kept = tuple(dict.fromkeys(p for p in points if p and p.rstrip(".") != subject.rstrip(".")))
    body = "\n".join(f"- {point}" for point in kept)
    return Message(message=f"{line}\n\n{body}".strip(), subject=line, points=kept, files=files)
