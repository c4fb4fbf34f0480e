"""Change code without changing what it does, as a diff that applies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from dimora.core.errors import BadRequest
from dimora.core.languages import Language
from dimora.core.types import Event, Progress
from dimora.tasks.base import Right, Rooms
from dimora.tasks.ready._code import (
    Parsed,
    code_in,
    fenced,
    is_left_out,
    language_of,
    names_defined,
    parses,
    python_fault,
)
from dimora.tasks.ready._desk import Desk, require_text
from dimora.tasks.ready._diff import apply_diff, diff_of
from dimora.tasks.ready.base import ReadyRequest, answered

RIGHT: Right = "use"

_TRIES = 2


class RefactorCode(ReadyRequest, frozen=True, kw_only=True, tag="refactor_code"):
    """The model writes the code anew, and the diff is made from that by code: it applies, and is
    tried on the source before it is told. New Python must parse, and no function may be lost:
    else the model tries once more, and what is still wrong is told.
    """

    code: Annotated[str, Meta(description="What to change, all that it has to hold.")]
    goal: Annotated[str, Meta(description="What should get better.")] = ""
    path: Annotated[str, Meta(description="The file's name in the diff.")] = "code"


class Refactored(msgspec.Struct, frozen=True, kw_only=True):
    """`diff` is empty where nothing was to change, or nothing fit to be told was written; then
    `problems` say why. `lost` are functions and types that the new code does not define. `parsed`
    is for Python and JSON."""

    diff: str
    parsed: Parsed
    lost: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


RESULT = Refactored
WORDS: Mapping[Language, Mapping[str, str]] = {
    "it": {
        "system": "Migliori codice senza cambiare ciò che fa né i nomi delle sue funzioni."
        " Rispondi solo con tutto il codice nuovo, in un blocco.",
        "ask": "Riscrivi questo codice in modo più semplice e chiaro.",
        "goal": "Riscrivi questo codice. Scopo: {goal}",
        "broken": "Il codice nuovo non va: {fault}. Riscrivilo tutto.",
        "lost": "Mancano: {names}.",
        "left_out": "Scrivi anche le parti che restano uguali.",
    },
    "es": {
        "system": "Mejoras código sin cambiar lo que hace ni los nombres de sus funciones."
        " Responde solo con todo el código nuevo, en un bloque.",
        "ask": "Reescribe este código de forma más simple y clara.",
        "goal": "Reescribe este código. Objetivo: {goal}",
        "broken": "El código nuevo no vale: {fault}. Reescríbelo todo.",
        "lost": "Faltan: {names}.",
        "left_out": "Escribe también las partes que quedan igual.",
    },
    "en": {
        "system": "You make code better without changing what it does or the names of its"
        " functions. Answer with all of the new code alone, in one block.",
        "ask": "Write this code anew, simpler and clearer.",
        "goal": "Write this code anew. The goal: {goal}",
        "broken": "The new code does not work: {fault}. Write all of it again.",
        "lost": "Missing are: {names}.",
        "left_out": "Write also the parts that stay as they are.",
    },
}
EXAMPLE: Mapping[str, Any] = {
    "code": "def is_adult(age):\n    if age >= 18:\n        result = True\n    else:\n"
    "        result = False\n    return result\n",
    "path": "people.py",
}


async def run(request: RefactorCode, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress, one Answered, then Done."""
    require_text(request.code, "code")
    if not request.path.strip() or "\n" in request.path:
        raise BadRequest("the path is one line", param="path")
    language = request.language or language_of(request.code, request.goal)
    words = WORDS[language]
    goal = request.goal.strip()
    task = words["goal"].format(goal=goal) if goal else words["ask"]
    question = f"{task}\n\n{fenced(request.code)}"
    best: Refactored | None = None
    async with Desk(request, rooms) as desk:
        async for place in desk.wait():
            yield place
        size = await desk.count(request.code)
        most = await desk.answer_tokens(words["system"], question, size + size // 2 + 64)
        asked = question
        for attempt in range(_TRIES):
            yield Progress(status="writing" if not attempt else "writing again")
            answer = await desk.write(words["system"], asked, most_tokens=most)
            new = "" if answer.cut else code_in(answer.text)
            faults = faults_of(request.code, new, words)
            if best is None or not faults:
                best = _told(request, new, faults)
            if not faults:
                break
            asked = f"{question}\n\n{words['broken'].format(fault=' '.join(faults))}"
    yield answered(best or _told(request, "", []), language)
    yield desk.done()


def faults_of(old: str, new: str, words: Mapping[str, str]) -> list[str]:
    """What is wrong with new code, in words for people and models."""
    if not new:
        return [words["left_out"]]
    faults = []
    if breaks(old, new):
        faults.append(python_fault(new))
    if is_left_out(new) and not is_left_out(old):
        faults.append(words["left_out"])
    if names := lost_names(old, new):
        faults.append(words["lost"].format(names=", ".join(names)))
    return faults


def breaks(old: str, new: str) -> bool:
    """Whether Python that could be parsed cannot any more."""
    return parses(old, "python") == "yes" and parses(new, "python") == "no"


def lost_names(old: str, new: str) -> tuple[str, ...]:
    kept = set(names_defined(new))
    return tuple(name for name in names_defined(old) if name not in kept)


def _told(request: RefactorCode, new: str, faults: list[str]) -> Refactored:
    """New code that does not parse or has holes is not told."""
    if not new or is_left_out(new) or breaks(request.code, new):
        return Refactored(diff="", parsed="no", problems=tuple(faults))
    ended = new if request.code.endswith("\n") else new.removesuffix("\n")
    if "\r\n" in request.code:
        ended = ended.replace("\n", "\r\n")
    diff = diff_of(request.code, ended, request.path.strip())
    if apply_diff(request.code, diff) != ended:
        return Refactored(diff="", parsed=parses(new), problems=("the diff does not apply",))
    return Refactored(
        diff=diff,
        parsed=parses(new),
        lost=lost_names(request.code, new),
        problems=tuple(faults),
    )
