"""Put code into another programming language."""

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
from dimora.tasks.ready._code import (
    Parsed,
    code_in,
    fenced,
    is_left_out,
    language_of,
    names_defined,
    parses,
    plain_name,
    python_fault,
)
from dimora.tasks.ready._desk import Desk, require_text
from dimora.tasks.ready.base import ReadyRequest, answered

RIGHT: Right = "use"

_TRIES = 2
# Languages differ in length; and comments may come in.
_LONGER = 2


class TranslateCode(ReadyRequest, frozen=True, kw_only=True, tag="translate_code"):
    """Functions and types are looked for in what comes out, in whatever spelling the language has
    (`total_price`, `totalPrice`), and so are numbers and words in quotes; what is missing is told.
    Python and JSON must parse: else the model tries once more.
    """

    code: Annotated[str, Meta(description="What to translate, all that it has to hold.")]
    target: Annotated[str, Meta(description="The language to write it in, such as Python, Rust.")]
    source: Annotated[str, Meta(description="The language it is in.")] = ""


class CodeTranslated(msgspec.Struct, frozen=True, kw_only=True):
    """`lost` are functions and types that the new code does not define; `missing` numbers and
    words in quotes that it does not have. `parsed` is for Python and JSON."""

    code: str
    parsed: Parsed
    lost: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


RESULT = CodeTranslated
WORDS: Mapping[Language, Mapping[str, str]] = {
    "it": {
        "system": "Traduci codice da un linguaggio di programmazione a un altro. Fa la stessa cosa,"
        " con gli stessi nomi. Rispondi solo con il codice, in un blocco.",
        "ask": "Traduci questo codice{source} in {target}.",
        "source": " da {source}",
        "broken": "Il codice non è valido ({fault}). Scrivilo di nuovo, tutto.",
    },
    "es": {
        "system": "Traduces código de un lenguaje de programación a otro. Hace lo mismo, con los"
        " mismos nombres. Responde solo con el código, en un bloque.",
        "ask": "Traduce este código{source} a {target}.",
        "source": " de {source}",
        "broken": "El código no es válido ({fault}). Escríbelo de nuevo, entero.",
    },
    "en": {
        "system": "You translate code from one programming language into another. It does the same"
        " with the same names. Answer with the code alone, in one block.",
        "ask": "Translate this code{source} into {target}.",
        "source": " from {source}",
        "broken": "The code is not valid ({fault}). Write it again, all of it.",
    },
}
EXAMPLE: Mapping[str, Any] = {
    "code": "function total(prices) {\n  let sum = 0;\n  for (const price of prices) {\n"
    "    sum += price * 1.22;\n  }\n  return sum;\n}\n",
    "target": "Python",
    "source": "JavaScript",
}


async def run(request: TranslateCode, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress, one Answered, then Done."""
    require_text(request.code, "code")
    require_text(request.target, "target")
    for name in ("target", "source"):
        if len(getattr(request, name)) > 40:
            raise BadRequest("a language's name has at most 40 characters", param=name)
    language = request.language or language_of(request.code)
    words = WORDS[language]
    target, source = request.target.strip(), request.source.strip()
    named = words["source"].format(source=source) if source else ""
    task = words["ask"].format(source=named, target=target)
    question = f"{task}\n\n{fenced(request.code)}"
    new = ""
    async with Desk(request, rooms) as desk:
        async for place in desk.wait():
            yield place
        size = await desk.count(request.code)
        most = await desk.answer_tokens(words["system"], question, size * _LONGER + 64)
        asked = question
        for attempt in range(_TRIES):
            yield Progress(status="writing" if not attempt else "writing again")
            answer = await desk.write(words["system"], asked, most_tokens=most)
            new = code_in(answer.text)
            if new and not is_left_out(new) and parses(new, target) != "no":
                break
            asked = f"{question}\n\n{words['broken'].format(fault=python_fault(new) or '-')}"
        if answer.cut:
            desk.warnings.append("the code was cut by the limit on tokens")
    yield answered(told(request.code, new, target), language)
    yield desk.done()


def told(old: str, new: str, target: str) -> CodeTranslated:
    """The new code and what it does not have of the old."""
    kept = {plain_name(name) for name in names_defined(new)}
    lost = tuple(name for name in names_defined(old) if plain_name(name) not in kept)
    missing = tuple(each for each in literals_of(old) if each not in literals_of(new))
    return CodeTranslated(code=new, parsed=parses(new, target), lost=lost, missing=missing)


def literals_of(code: str) -> tuple[str, ...]:
    """Numbers of more than one digit and words in quotes, each once."""
    bare = re.sub(
        r"(?:^|\s)(?:#|//)[^\n]*|/\*(?:[^*/]|\*(?!/)|/(?!\*))*+\*/|\"\"\".*?\"\"\"",
        " ",
        code,
        flags=re.DOTALL,
    )
    quotes = [m[2] for m in re.finditer(r"(?<!\\)([\"'])((?:(?!\1)[^\\\n]|\\.){2,80})\1", bare)]
    without = re.sub(r"(?<!\\)([\"'])(?:(?!\1)[^\\\n]|\\.)*\1", " ", bare)
    numbers = [n for n in re.findall(r"(?<![\w.])\d+(?:\.\d+)?", without) if len(n) > 1]
    return tuple(dict.fromkeys([*numbers, *quotes]))
