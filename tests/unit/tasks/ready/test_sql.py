"""A query names what the schema has, and only reads."""

from __future__ import annotations

import asyncio
import logging
import sqlite3

import pytest

from dimora.core.errors import BadRequest
from dimora.tasks.ready import sql
from dimora.tasks.ready._sql import check_statement, read_schema
from tests.unit.tasks.ready.speaking import result_of

DDL = """CREATE TABLE book (id INTEGER PRIMARY KEY, title TEXT, author TEXT);
CREATE INDEX by_title ON book (title);
CREATE TABLE loan (id INTEGER, book_id INTEGER, lent_on DATE,
                   FOREIGN KEY (book_id) REFERENCES book (id));"""
TABLES = read_schema(DDL, "sqlite")


def test_a_schema_is_its_tables_with_their_columns():
    assert {name: list(columns) for name, columns in TABLES.items()} == {
        "book": ["id", "title", "author"],
        "loan": ["id", "book_id", "lent_on"],
    }


@pytest.mark.parametrize("ddl", ["SELECT 1", "CREATE TABLE x AS SELECT 1", "what?", "(" * 3000])
def test_what_is_no_schema_is_refused(ddl):
    with pytest.raises(BadRequest):
        read_schema(ddl, "sqlite")


@pytest.mark.parametrize(
    "query",
    [
        "SELECT title FROM book",
        "select B.TITLE, count(*) n from BOOK b join loan l on l.book_id = b.id"
        " group by b.id having n > 1 order by n desc;",
        "WITH x AS (SELECT book_id, COUNT(*) c FROM loan GROUP BY book_id)"
        " SELECT title FROM book JOIN x ON x.book_id = book.id WHERE c > 1",
        "SELECT strftime('%Y', lent_on) y, COUNT(*) FROM loan GROUP BY y",
        "SELECT title FROM book UNION SELECT author FROM book -- all of them",
        "SELECT * FROM book WHERE id NOT IN (SELECT book_id FROM loan)",
        "SELECT title FROM book WHERE title = 'a; DROP TABLE book'",
        "SELECT round(avg(julianday('now') - julianday(lent_on)), 1) FROM loan",
        "SELECT group_concat(title, ', ') FROM book WHERE lower(author) LIKE '%eco%'",
        "SELECT id, row_number() OVER (PARTITION BY book_id ORDER BY lent_on) FROM loan",
    ],
)
def test_what_reads_the_schema_is_taken_and_runs(query):
    held = check_statement(query, TABLES, "sqlite", writes=False)
    assert held.reads_only
    base = sqlite3.connect(":memory:")
    base.executescript(DDL)
    base.execute(held.sql)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "hello there",
        "SELECT 1",
        "SELECT nope FROM book",
        "SELECT b.nope FROM book b",
        "SELECT title FROM book WHERE id IN (SELECT nope FROM loan)",
        "SELECT * FROM other",
        "SELECT * FROM main.book",
        "SELECT * FROM sqlite_master",
        "SELECT * FROM pragma_table_info('book')",
        "SELECT title FROM book; SELECT title FROM book",
        "DELETE FROM book",
        "DROP TABLE book",
        "PRAGMA writable_schema = 1",
        "ATTACH 'x' AS y",
        "VACUUM",
        "EXPLAIN SELECT * FROM book",
        "SELECT load_extension('x') FROM book",
        "SELECT writefile('x', title) FROM book",
        "SELECT title INTO x FROM book",
    ],
)
def test_what_does_anything_else_is_refused_in_words(query):
    with pytest.raises(ValueError, match=r"\w"):
        check_statement(query, TABLES, "sqlite", writes=False)


@pytest.mark.parametrize(
    ("query", "dialect"),
    [
        ("WITH d AS (DELETE FROM book RETURNING *) SELECT * FROM d", "postgres"),
        ("SELECT pg_read_file('x') FROM book", "postgres"),
        ("SELECT title FROM book FOR UPDATE", "postgres"),
        ("SELECT title FROM book INTO OUTFILE '/tmp/x'", "mysql"),
        ("SELECT load_file('x') FROM book", "mysql"),
        ("SELECT * FROM read_csv('x')", "duckdb"),
        ("SELECT * FROM 'x.parquet'", "duckdb"),
        ("EXEC xp_cmdshell 'x'", "tsql"),
        ("SELECT utl_http.request('x') FROM book", "oracle"),
    ],
)
def test_what_reaches_out_of_the_tables_is_refused_in_each_dialect(query, dialect):
    with pytest.raises(ValueError, match=r"\w"):
        check_statement(query, read_schema(DDL, dialect), dialect, writes=False)


@pytest.mark.parametrize(
    ("query", "taken"),
    [
        ("DELETE FROM book WHERE id = 1", True),
        ("INSERT INTO book (title) VALUES ('x')", True),
        ("UPDATE book SET title = 'x' WHERE id = 1", True),
        ("UPDATE book SET nope = 'x'", False),
        ("INSERT INTO book (nope) VALUES ('x')", False),
        ("DELETE FROM other", False),
        ("DROP TABLE book", False),
        ("ALTER TABLE book ADD COLUMN x", False),
    ],
)
def test_what_changes_rows_is_taken_where_it_is_wanted(query, taken):
    if taken:
        assert not check_statement(query, TABLES, "sqlite", writes=True).reads_only
    else:
        with pytest.raises(ValueError, match=r"\w"):
            check_statement(query, TABLES, "sqlite", writes=True)


def test_the_model_is_told_what_does_not_hold_and_mends_it():
    asked = sql.Sql(question="Which titles are there?", tables=DDL)

    def say(prompt):
        return (
            "```sql\nSELECT title FROM book\n```"
            if "could not be resolved" in prompt.text
            else "SELECT name FROM book"
        )

    told = asyncio.run(result_of(sql, asked, say))
    assert told["sql"].split() == ["SELECT", "title", "FROM", "book"]
    assert told["tables"] == ("book",)


def test_what_never_holds_is_no_query_and_stands_in_no_log(caplog):
    asked = sql.Sql(question="Which titles are there?", tables=DDL)
    with caplog.at_level(logging.DEBUG):
        told = asyncio.run(result_of(sql, asked, lambda _: "VACUUM canary_4711"))
    assert told["sql"] == ""
    assert told["problem"]
    assert "canary" not in caplog.text
