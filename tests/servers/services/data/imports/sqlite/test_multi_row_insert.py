"""`data import` into SQLite: many rows per statement have the same result as single rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from oneoff.testing import Finished, Manage
from tests.support.database import open_sqlite, query

pytestmark = pytest.mark.parametrize("manage_environ", ["sqlite"], indirect=True)

ROWS = 1_000
"""More rows than one statement inserts, and no multiple of that."""
BAD = 500
"""The index of the bad row, in the middle of a statement."""


def make(manage: Manage, statements: str) -> None:
    """Run statements on the database of the test."""
    with open_sqlite(manage.environ["DATABASE_URL"]) as connection:
        connection.executescript(statements)


def rows(manage: Manage, sql: str) -> list[Any]:
    """Return the rows of a query."""
    return query(manage.environ["DATABASE_URL"], sql)


async def load(manage: Manage, folder: Path, lines: list[str], *words: str) -> Finished:
    """Import lines into the table `many`."""
    path = folder / "many.csv"
    path.write_text("\n".join(["id,name,parent", *lines, ""]))
    return await manage(["data", "import", "many", str(path), "--confirm", *words])


@pytest.mark.parametrize(
    ("table", "row", "problem"),
    [
        ("(id INTEGER PRIMARY KEY, name, parent)", "7,new,", "column id: '7' already exists"),
        ("(id INTEGER, name TEXT UNIQUE, parent)", "1,n7,", "column name: 'n7' already exists"),
        ("(id INTEGER, name TEXT NOT NULL, parent)", "1,,", "column name: the value is empty"),
        ("(id INTEGER, name CHECK (name <> 'no'), parent)", "1,no,", "the row is not allowed"),
        ("(id INTEGER, name, parent REFERENCES other)", "1,n,4", "refers to a row that does not"),
        ("(id INT PRIMARY KEY, name ANY, parent ANY) STRICT", "7,n,", "column id: '7' already"),
    ],
)
async def test_the_error_names_the_line_of_a_bad_row(
    manage: Manage, tmp_path: Path, table: str, row: str, problem: str
) -> None:
    """Independent of the constraint that refuses the row; nothing is imported."""
    make(manage, f"CREATE TABLE other (id INTEGER PRIMARY KEY); CREATE TABLE many {table};")
    lines = [f"{number},n{number}," for number in range(ROWS)]
    lines[BAD] = row

    done = await load(manage, tmp_path, lines)

    assert 65 == done.exit_code, done.stderr
    assert (True, True) == (f", line {BAD + 2}" in done.stderr, problem in done.stderr), done.stderr
    assert [(0,)] == rows(manage, "SELECT count(*) FROM many")


async def test_the_conflict_clause_of_a_table_applies(manage: Manage, tmp_path: Path) -> None:
    """Rows that it ignores are not counted."""
    make(manage, "CREATE TABLE many (id INTEGER PRIMARY KEY ON CONFLICT IGNORE, name, parent)")
    lines = [f"{number},n{number}," for number in range(ROWS)]
    lines[BAD] = "7,another,"

    done = await load(manage, tmp_path, lines)

    assert (0, ROWS - 1) == (done.exit_code, done.rows)
    assert [("n7",)] == rows(manage, "SELECT name FROM many WHERE id = 7")


async def test_rows_that_a_trigger_leaves_out_are_not_counted(
    manage: Manage, tmp_path: Path
) -> None:
    """The import has not changed them."""
    make(
        manage,
        """
        CREATE TABLE many (id INTEGER PRIMARY KEY, name, parent);
        CREATE TRIGGER even BEFORE INSERT ON Many WHEN NEW.id % 2 BEGIN SELECT RAISE(IGNORE); END;
        """,
    )

    done = await load(manage, tmp_path, [f"{number},n{number}," for number in range(ROWS)])

    assert (0, ROWS // 2) == (done.exit_code, done.rows)
    assert [(ROWS // 2,)] == rows(manage, "SELECT count(*) FROM many")


@pytest.mark.parametrize("kind", ["TEXT", "INTEGER", "BLOB", "REAL", ""])
async def test_null_is_imported_as_null_with_and_without_other_values(
    manage: Manage, tmp_path: Path, kind: str
) -> None:
    """An empty text or blob is not imported as NULL."""
    make(manage, f"CREATE TABLE many (id INTEGER PRIMARY KEY, name {kind}, parent {kind})")
    value = {"BLOB": "\\x", "INTEGER": "0", "REAL": "0"}.get(kind, '""')
    lines = [f"{number},{'' if number % 3 else value}," for number in range(ROWS)]

    done = await load(manage, tmp_path, lines)

    assert (0, ROWS) == (done.exit_code, done.rows), done.stderr
    nulls = sum(bool(number % 3) for number in range(ROWS))
    query = (
        "SELECT count(*), sum(name IS NULL), sum(parent IS NULL), count(DISTINCT name) FROM many"
    )
    assert [(ROWS, nulls, ROWS, 1)] == rows(manage, query)


async def test_an_unchanged_current_timestamp_is_not_updated(
    manage: Manage, tmp_path: Path
) -> None:
    """SQLite stores CURRENT_TIMESTAMP without a fraction, but the time is the same."""
    path = tmp_path / "many.csv"
    make(
        manage,
        """
        CREATE TABLE many (id INTEGER PRIMARY KEY, made TIMESTAMP DEFAULT CURRENT_TIMESTAMP);
        INSERT INTO many (id) VALUES (1), (2);
        """,
    )
    await manage(["data", "export", "many", "-o", str(path)])
    make(manage, "UPDATE many SET made = '2001-01-01 00:00:00' WHERE id = 2")

    done = await manage(
        ["data", "import", "many", str(path), "--on-conflict", "update", "--confirm"]
    )

    assert (0, 1) == (done.exit_code, done.rows), done.stderr
    assert [(1, 19), (2, 26)] == rows(manage, "SELECT id, length(made) FROM many")
