"""Write an SQL query for a question, with tables and columns of a schema and no others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from dimora.core.languages import Language, detect_language
from dimora.core.types import Event, Progress
from dimora.tasks.base import Right, Rooms
from dimora.tasks.ready._code import code_in, fenced
from dimora.tasks.ready._desk import Desk, require_text
from dimora.tasks.ready._sql import Statement, check_statement, read_schema
from dimora.tasks.ready.base import ReadyRequest, answered

RIGHT: Right = "use"

_ANSWER_TOKENS = 350
_TRIES = 3


class Sql(ReadyRequest, frozen=True, kw_only=True, tag="sql"):
    """The query is parsed, and every table and column in it must be one of the schema. It only
    reads, unless `writes`; it is never run. What does not hold is said to the model, twice at most;
    then there is no query, and it is told why.
    """

    question: Annotated[str, Meta(description="What you want to know.")]
    tables: Annotated[str, Meta(description="The database's CREATE TABLE statements.")]
    dialect: Annotated[
        Literal["sqlite", "postgres", "mysql", "tsql", "oracle", "duckdb"],
        Meta(description="The database it is for."),
    ] = "sqlite"
    writes: Annotated[bool, Meta(description="Let it INSERT, UPDATE or DELETE.")] = False


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """`sql` is empty where no query held; `problem` says why the last one did not."""

    sql: str
    tables: tuple[str, ...] = ()
    reads_only: bool = True
    problem: str = ""


RESULT = Query
WORDS: Mapping[Language, Mapping[str, str]] = {
    "it": {
        "system": "Scrivi query SQL per {dialect}. Usi solo tabelle e colonne dello schema."
        " Rispondi solo con la query, in un blocco.",
        "ask": "Schema:\n{schema}\n\nScrivi una query per: {question}",
        "broken": "La query non va:\n{sql}\n{problem}\nScrivine una corretta.",
    },
    "es": {
        "system": "Escribes consultas SQL para {dialect}. Usas solo tablas y columnas del esquema."
        " Responde solo con la consulta, en un bloque.",
        "ask": "Esquema:\n{schema}\n\nEscribe una consulta para: {question}",
        "broken": "La consulta no vale:\n{sql}\n{problem}\nEscribe una correcta.",
    },
    "en": {
        "system": "You write SQL queries for {dialect}. You use only tables and columns of the"
        " schema. Answer with the query alone, in one block.",
        "ask": "Schema:\n{schema}\n\nWrite a query for: {question}",
        "broken": "The query does not hold:\n{sql}\n{problem}\nWrite one that does.",
    },
}
EXAMPLE: Mapping[str, Any] = {
    "question": "Which books were lent more than once?",
    "tables": "CREATE TABLE book (id INTEGER PRIMARY KEY, title TEXT, author TEXT);\n"
    "CREATE TABLE loan (id INTEGER PRIMARY KEY, book_id INTEGER, reader TEXT, lent_on DATE);\n",
}


async def run(request: Sql, rooms: Rooms) -> AsyncIterator[Event]:
    """Progress for each try, one Answered, then Done."""
    require_text(request.question, "question")
    require_text(request.tables, "tables")
    tables = read_schema(request.tables, request.dialect)
    language = request.language or detect_language(request.question)
    words = WORDS[language]
    system = words["system"].format(dialect=request.dialect)
    question = words["ask"].format(schema=fenced(request.tables), question=request.question.strip())
    asked, problem = question, ""
    held: Statement | None = None
    async with Desk(request, rooms) as desk:
        async for place in desk.wait():
            yield place
        most = await desk.answer_tokens(system, question, _ANSWER_TOKENS)
        for attempt in range(_TRIES):
            yield Progress(status="writing" if not attempt else f"writing again: {problem}")
            answer = await desk.write(system, asked, most_tokens=most)
            sql = code_in(answer.text)
            try:
                held = check_statement(sql, tables, request.dialect, writes=request.writes)
                break
            except ValueError as why:
                problem = str(why)
            asked = f"{question}\n\n{words['broken'].format(sql=fenced(sql), problem=problem)}"
    if held is None:
        yield answered(Query(sql="", problem=problem), language)
    else:
        yield answered(
            Query(sql=held.sql, tables=held.tables, reads_only=held.reads_only), language
        )
    yield desk.done()
