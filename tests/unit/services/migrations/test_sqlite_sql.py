"""The text of a table in SQLite."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from oneoff.services.migrations.sqlite_sql import TableSQL, normalized, tokens

TEXTS = [
    "CREATE TABLE t (a INTEGER PRIMARY KEY AUTOINCREMENT, b TEXT COLLATE NOCASE NOT NULL)",
    (
        "CREATE TABLE t (a INT CHECK (a > -1 AND a<>3), b DECIMAL(10, 2) DEFAULT 1e-5, c BLOB "
        "DEFAULT x'ab')"
    ),
    "CREATE TABLE t (a INT NULL, b INT GENERATED ALWAYS AS (a*2) STORED, c INT AS (a || 'x, )'))",
    (
        "CREATE TABLE t (a INT REFERENCES t (b) ON DELETE SET NULL NOT DEFERRABLE, b INT UNIQUE ON "
        "CONFLICT IGNORE)"
    ),
    (
        'CREATE TABLE "t" ([a b] INT, `c` INT, "d""e" INT, CONSTRAINT pk PRIMARY KEY (c), '
        "CHECK (c > 0)) WITHOUT ROWID, STRICT"
    ),
    "CREATE TABLE t (a INT, -- a comment, with )\n b TEXT /* and ( another */ DEFAULT 'it''s')",
    (
        "CREATE TABLE t (a INT CONSTRAINT positive CHECK (a > 0) CONSTRAINT given NOT NULL, "
        "FOREIGN KEY (a) REFERENCES t (a))"
    ),
]


@pytest.mark.parametrize("sql", TEXTS)
def test_a_parsed_table_is_written_with_the_same_meaning(sql: str) -> None:
    """SQLite accepts it, and its tokens are the same."""
    written = TableSQL.parse(sql).sql("t")

    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(written)
    assert normalized(tokens(sql)) == normalized(tokens(written))


def test_clauses_of_a_column_are_separate() -> None:
    """One can be removed without the others."""
    column = TableSQL.parse(TEXTS[6]).column("A")

    column.remove("CHECK")

    assert '"a" INT CONSTRAINT given NOT NULL' == column.sql()


def test_a_dropped_column_takes_its_constraints_with_it() -> None:
    """A check that names other columns too stays, so that SQLite refuses the table."""
    table = TableSQL.parse(
        "CREATE TABLE t (a INT, b INT, UNIQUE (a), CHECK (a > 0), CHECK (a > b), UNIQUE (b))"
    )

    table.drop_column("a")

    assert ["CHECK (a > b)", "UNIQUE (b)"] == [
        " ".join(c).replace(" (", "(").replace("( ", "(").replace(" )", ")").replace("(", " (", 1)
        for c in table.constraints
    ]
