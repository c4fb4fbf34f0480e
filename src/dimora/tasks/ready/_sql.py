"""Reads SQL: what a schema has, and whether a statement uses only that. Not a task itself.

The parser is sqlglot (MIT), which knows the dialects of the common databases.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from dimora.core.errors import BadRequest

if TYPE_CHECKING:
    from sqlglot import exp

_WRITES = ("Insert", "Update", "Delete", "Merge")
# Of functions that the parser does not know by name, those that only compute. All others may read
# files, reach the network, or stop the server.
_COMPUTING = frozenset(
    """julianday unixepoch timediff datetime time printf format total hex typeof unicode quote
    octet_length ifnull iif sign ceil floor trunc age to_char to_number initcap nvl decode
    months_between add_months last_day datename isnull convert choose strpos substring_index
    date_format time_format monthname dayname weekday period_diff elt field make_date list_sum
    list_avg date_part percentile_cont median mode""".split()
)
# Functions that the parser knows and that do more than compute.
_REACHING = frozenset("read_csv read_parquet load_file nextval next_value_for".split())

Tables = Mapping[str, Mapping[str, str]]


class Statement(msgspec.Struct, frozen=True):
    """A statement that may be told, as it is written in its dialect."""

    sql: str
    tables: tuple[str, ...]
    reads_only: bool


def read_schema(ddl: str, dialect: str) -> dict[str, dict[str, str]]:
    """Tables, each with its columns and their types, in lower case.

    Raises BadRequest for what is no list of CREATE TABLE.
    """
    from sqlglot import exp

    try:
        statements = _parsed(ddl, dialect)
    except ValueError:
        raise BadRequest(
            "the tables cannot be parsed", hint="give CREATE TABLE statements", param="tables"
        ) from None
    tables: dict[str, dict[str, str]] = {}
    for statement in statements:
        if not isinstance(statement, exp.Create) or statement.kind != "TABLE":
            continue
        shape = statement.this
        if not isinstance(shape, exp.Schema):
            continue
        columns = shape.find_all(exp.ColumnDef)
        tables[shape.this.name.lower()] = {
            c.name.lower(): c.kind.sql(dialect=dialect) if c.kind else "TEXT" for c in columns
        }
    if not tables:
        raise BadRequest("there is no CREATE TABLE with columns", param="tables")
    return tables


def check_statement(sql: str, tables: Tables, dialect: str, *, writes: bool) -> Statement:
    """One statement that names only what the schema has.

    Raises:
        ValueError: in words for a model, what is wrong with it.
    """
    found = _parsed(sql, dialect)
    if len(found) != 1:
        raise ValueError("it must be one statement")
    (statement,) = found
    reads = _check_kind(statement, writes=writes)
    _check_functions(statement)
    named = _check_tables(statement, tables)
    _check_columns(statement, tables, dialect)
    return Statement(statement.sql(dialect=dialect, pretty=True, comments=False), named, reads)


def _parsed(sql: str, dialect: str) -> list[exp.Expr]:
    """The statements; comments between them are none. Raises ValueError."""
    from sqlglot import exp, parse
    from sqlglot.errors import SqlglotError

    # The parser warns of what it does not know, and quotes it: that is nobody's log.
    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)
    try:
        found = parse(sql, dialect=dialect)
    except (SqlglotError, RecursionError) as why:
        raise ValueError(f"it is no SQL: {_first_line(why)}") from None
    return [each for each in found if each is not None and not isinstance(each, exp.Semicolon)]


def _check_kind(statement: exp.Expr, *, writes: bool) -> bool:
    """True for what only reads."""
    from sqlglot import exp

    changing = tuple(getattr(exp, name) for name in _WRITES)
    # A statement within another (a common table that deletes) changes things as well.
    changes = any(isinstance(node, changing) for node in statement.walk())
    if not isinstance(statement, (exp.Query, *changing)):
        raise ValueError("it must be a SELECT" + (", INSERT, UPDATE or DELETE" if writes else ""))
    if changes and not writes:
        raise ValueError("it must only read: a SELECT")
    hidden = (exp.Into, exp.Create, exp.Drop, exp.Alter, exp.Command, exp.Copy, exp.Lock)
    if any(isinstance(node, hidden) for node in statement.walk()):
        raise ValueError("it must only read: a SELECT")
    return not changes


def _check_functions(statement: exp.Expr) -> None:
    from sqlglot import exp

    for node in statement.find_all(exp.Func):
        unknown = isinstance(node, exp.Anonymous | exp.AnonymousAggFunc)
        name = (node.name if unknown else node.sql_name()).lower()
        # A function of a package (`utl_http.request`) is none that is known.
        packaged = isinstance(node.parent, exp.Dot)
        if packaged or name in _REACHING or (unknown and name not in _COMPUTING):
            raise ValueError(f"the function {name} may not be used")


def _check_tables(statement: exp.Expr, tables: Tables) -> tuple[str, ...]:
    from sqlglot import exp

    own = {cte.alias.lower() for cte in statement.find_all(exp.CTE)}
    named: dict[str, None] = {}
    for table in statement.find_all(exp.Table):
        name = table.name.lower()
        if table.args.get("db") or table.args.get("catalog"):
            raise ValueError(f"there is no table {table.sql()}")
        if not isinstance(table.this, exp.Identifier):
            raise ValueError(f"{table.sql()[:60]} is no table of the schema")
        if name in tables:
            named[name] = None
        elif name not in own:
            raise ValueError(f"there is no table {name}; there are: {', '.join(tables)}")
    if not named:
        raise ValueError("it reads no table of the schema")
    return tuple(named)


def _check_columns(statement: exp.Expr, tables: Tables, dialect: str) -> None:
    from sqlglot import exp
    from sqlglot.errors import SqlglotError
    from sqlglot.optimizer.qualify import qualify

    if isinstance(statement, exp.Query):
        try:
            qualify(
                statement.copy(),
                schema={name: dict(columns) for name, columns in tables.items()},
                dialect=dialect,
                validate_qualify_columns=True,
                quote_identifiers=False,
            )
        except (SqlglotError, RecursionError) as why:
            raise ValueError(_first_line(why)) from None
        return
    _check_written_columns(statement, tables)


def _check_written_columns(statement: exp.Expr, tables: Tables) -> None:
    """Of statements that change something: each column is one of some table that is named."""
    from sqlglot import exp

    known = {column for columns in tables.values() for column in columns}
    aliases = {alias.alias.lower() for alias in statement.find_all(exp.Alias)}
    named: list[Any] = [*statement.find_all(exp.Column)]
    target = statement.this
    if isinstance(target, exp.Schema):
        own = tables[target.this.name.lower()]
        for column in target.expressions:
            if column.name.lower() not in own:
                raise ValueError(f"there is no column {column.name} in {target.this.name}")
    for column in named:
        if column.name.lower() not in known | aliases:
            raise ValueError(f"there is no column {column.name}")


def _first_line(why: Exception) -> str:
    line = str(why).partition("\n")[0].partition(". Line")[0]
    return re.sub(r"\x1b\[[0-9;]*m", "", line)[:200]
