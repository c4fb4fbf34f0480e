"""Write tests for code, and tell what they do not touch."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from dimora.core.languages import Language
from dimora.core.types import Event, Progress
from dimora.tasks.base import Right, Rooms
from dimora.tasks.ready._code import (
    Parsed,
    code_in,
    fenced,
    language_of,
    looks_like_python,
    names_defined,
    parses,
    python_fault,
)
from dimora.tasks.ready._desk import Desk, require_text
from dimora.tasks.ready.base import ReadyRequest, answered

RIGHT: Right = "use"

_ANSWER_TOKENS = 700
_TRIES = 2


class WriteTests(ReadyRequest, frozen=True, kw_only=True, tag="write_tests"):
    """Nothing is run. Tests of Python are parsed, and written again once where they do not or
    where there is none; which functions of the code they never name is told.
    """

    code: Annotated[str, Meta(description="What to test.")]
    framework: Annotated[str, Meta(description="Such as pytest, unittest, jest, JUnit.")] = ""
    module: Annotated[str, Meta(description="What the tests import it from.")] = ""


class TestsWritten(msgspec.Struct, frozen=True, kw_only=True):
    """`names` are the tests, `untested` functions and types of the code that no test names;
    `parsed` is for Python."""

    __test__ = False

    tests: str
    names: tuple[str, ...] = ()
    untested: tuple[str, ...] = ()
    parsed: Parsed


RESULT = TestsWritten
WORDS: Mapping[Language, Mapping[str, str]] = {
    "it": {
        "system": "Scrivi test per codice{framework}: al massimo sei funzioni brevi. Ogni test"
        " prova una cosa e ha un nome che la dice; provi anche i casi limite. Rispondi solo con il"
        " codice dei test, in un blocco.",
        "framework": " con {framework}",
        "ask": "Scrivi i test per questo codice.",
        "module": " Importalo da {module}.",
        "broken": "I test non sono validi ({fault}). Scrivili di nuovo.",
    },
    "es": {
        "system": "Escribes pruebas de código{framework}: seis funciones breves como máximo. Cada"
        " prueba comprueba una cosa y su nombre la dice; pruebas también los casos límite."
        " Responde solo con el código de las pruebas, en un bloque.",
        "framework": " con {framework}",
        "ask": "Escribe las pruebas de este código.",
        "module": " Impórtalo de {module}.",
        "broken": "Las pruebas no son válidas ({fault}). Escríbelas de nuevo.",
    },
    "en": {
        "system": "You write tests for code{framework}: at most six short functions. Each test"
        " tries one thing and has a name that says it; you try the edges too. Answer with the code"
        " of the tests alone, in one block.",
        "framework": " with {framework}",
        "ask": "Write the tests for this code.",
        "module": " Import it from {module}.",
        "broken": "The tests are not valid ({fault}). Write them again.",
    },
}
EXAMPLE: Mapping[str, Any] = {
    "code": "def is_leap(year):\n"
    "    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)\n",
    "framework": "pytest",
    "module": "calendars",
}
# `def test_x(`, `it("x"`, `@Test void x(`, `func TestX(`, `fn x()` after `#[test]`
_TEST = re.compile(
    r"def (test\w*)|\b(?:it|test)\(\s*[\"'`]([^\"'`\n]+)|@Test\s+(?:public\s+)?void\s+(\w+)"
    r"|func (Test\w+)|#\[test\]\s*fn (\w+)"
)


async def run(request: WriteTests, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress, one Answered, then Done."""
    require_text(request.code, "code")
    language = request.language or language_of(request.code)
    words = WORDS[language]
    python = looks_like_python(request.code)
    framework = request.framework.strip() or ("pytest" if python else "")
    named = words["framework"].format(framework=framework) if framework else ""
    system = words["system"].format(framework=named)
    module = request.module.strip()
    task = words["ask"] + (words["module"].format(module=module) if module else "")
    question = f"{task}\n\n{fenced(request.code)}"
    tests, fault = "", ""
    async with Desk(request, rooms) as desk:
        async for place in desk.wait():
            yield place
        most = await desk.answer_tokens(system, question, _ANSWER_TOKENS)
        asked = question
        for attempt in range(_TRIES):
            yield Progress(status="writing" if not attempt else "writing again")
            answer = await desk.write(system, asked, most_tokens=most)
            tests = _whole(code_in(answer.text), cut=answer.cut, python=python)
            fault = python_fault(tests) if python else ""
            if _TEST.search(tests) and not fault:
                break
            asked = f"{question}\n\n{words['broken'].format(fault=fault or '-')}"
        if answer.cut:
            desk.warnings.append("the tests were cut by the limit on tokens")
    yield answered(told(request.code, tests, python=python), language)
    yield desk.done()


def told(code: str, tests: str, *, python: bool) -> TestsWritten:
    """The tests, what they are called and what they leave out."""
    names = tuple("".join(groups) for groups in _TEST.findall(tests))
    # A definition that was copied into the tests is no use of it.
    used = re.findall(r"(?<!def )(?<!class )(?<!function )\b\w+", tests)
    return TestsWritten(
        tests=tests,
        names=tuple(dict.fromkeys(names)),
        untested=tuple(
            name
            for name in names_defined(code)
            if name not in used and not (name.startswith("__") and name.endswith("__"))
        ),
        parsed=parses(tests, "python" if python else ""),
    )


def _whole(tests: str, *, cut: bool, python: bool) -> str:
    """Tests up to the last one that is whole, where a limit cut them."""
    if not (cut and python):
        return tests
    starts = [found.start() for found in re.finditer(r"^(?:@|def |class )", tests, re.MULTILINE)]
    for start in reversed(starts):
        if tests[:start].strip() and not python_fault(tests[:start]):
            return tests[:start]
    return tests
